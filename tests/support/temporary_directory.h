// A directory for one test, and files in it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

// The directory is in memory (/dev/shm) if possible, because an fsync there does not wait for a busy disk. Every user
// may write in it. The destructor deletes it with its contents.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }
  std::vector<std::string> names() const;  // of the entries, sorted

 private:
  std::filesystem::path path_;
};

std::string read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, std::string_view bytes);

}  // namespace ropewalk

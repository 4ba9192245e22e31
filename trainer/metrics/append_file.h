// A file that only grows, a whole record at a time: what a reader sees never ends in the middle of a record, also after
// the disk was full.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace ropewalk {

class AppendFile {
 public:
  // Makes the file, and its directory, where there is none. Throws ConfigurationError.
  explicit AppendFile(std::filesystem::path path);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void cut(int64_t bytes);  // keeps the first `bytes` only; throws DataError
  // All of it, or DataError and none of it; then the record waits, and goes out before the next.
  void append(std::string_view record);

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  std::string waiting_;
};

}  // namespace ropewalk

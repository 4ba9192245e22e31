// The directory of a run's files, which one job at a time may write.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace ropewalk {

class RunDirectory {
 public:
  // Makes the directory, with its parents, and holds its lock (a file named "lock") as long as this lives; the system
  // lets go of it when the process ends, however it does. Throws ConfigurationError: it cannot be written to; another
  // job holds the lock, which is named.
  explicit RunDirectory(std::filesystem::path path);
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  bool locked() const { return locked_; }  // false: this file system has no locks

  // Throws ConfigurationError if there is such an entry and files cannot be made in it.
  void check_writable(const std::string& subdirectory) const;
  // The configuration as it was understood, as config.textproto.
  void write_config(std::string_view text) const;

 private:
  [[noreturn]] void fail(std::string_view reason) const;

  std::filesystem::path path_;
  int file_ = -1;
  bool locked_ = false;
};

}  // namespace ropewalk

// The directory of a run's files, which one job at a time may write. No file of the user's is replaced: if a file that
// the run would write exists and was not written by a run, that is an error before anything is written.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "trainer/files/file_system.h"
#include "trainer/files/lock_file.h"

namespace ropewalk {

class RunDirectory {
 public:
  using Tell = std::function<void(const std::string&)>;

  // Makes the directory, with its parents, and holds its lock (a file named "lock") as long as this object lives; the
  // system releases the lock when the process ends, however it ends. Waits up to `patience` for another job's lock, and
  // reports through `tell` if that takes longer than a second. config: the resolved configuration as text. Throws
  // ConfigurationError if the directory is not writable, if another job holds the lock (the message names it), or if
  // config.textproto or lock exists and was not written by a run.
  RunDirectory(std::filesystem::path path, std::string config, std::chrono::milliseconds patience, const Tell& tell,
               FileSystem& system = real_file_system());

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config_path() const { return path_ / "config.textproto"; }
  // False: this file system has no locks, or no space for the file.
  bool locked() const { return lock_ && lock_->state() == LockFile::State::kHeld; }
  bool durable() const { return durable_; }  // false: this file system has no fsync of directories

  // Throws ConfigurationError if `subdirectory` exists and is not a writable directory.
  void check_writable(const std::string& subdirectory) const;
  // Writes the configuration to config.textproto, below a line that says who wrote it. If the existing file was edited
  // since a run wrote it, keeps it under another name, and reports that through `tell`. Throws FileError (a full disk).
  void write_config(const Tell& tell) const;

 private:
  void take_lock(std::chrono::milliseconds patience, const Tell& tell);
  void check_config() const;
  [[noreturn]] void fail(std::string_view reason) const;

  std::filesystem::path path_;
  std::string config_;
  FileSystem& system_;
  std::optional<LockFile> lock_;
  bool durable_ = true;
};

}  // namespace ropewalk

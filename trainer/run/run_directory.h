// The directory of a run's files, which one job at a time may write. A name that a run wants and that holds something
// else is an error, before anything is written: nothing of the user's is replaced.
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

  // Makes the directory, with its parents, and holds its lock (a file named "lock") as long as this lives; the system
  // lets go of it when the process ends, however it does. Waits `patience` for a job that is ending, and says so when
  // it takes longer than a moment. Throws ConfigurationError: it cannot be written to; another job holds the lock,
  // which is named; a file there has the name of one of a run's and is none. config: as it was understood, as text.
  RunDirectory(std::filesystem::path path, std::string config, std::chrono::milliseconds patience, const Tell& tell,
               FileSystem& system = real_file_system());

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config_path() const { return path_ / "config.textproto"; }
  // False: this file system has no locks, or no room for the file.
  bool locked() const { return lock_ && lock_->state() == LockFile::State::kHeld; }
  bool durable() const { return durable_; }  // false: it cannot make names in a directory durable

  // Throws ConfigurationError if there is such an entry and files cannot be made in it.
  void check_writable(const std::string& subdirectory) const;
  // The configuration as config.textproto, under a line that says who wrote it. One that was edited since a run wrote
  // it is kept under another name, which is told. Throws FileError (a full disk).
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

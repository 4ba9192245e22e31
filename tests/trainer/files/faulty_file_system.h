// File systems that fail on purpose.
#pragma once

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "trainer/files/file_system.h"

namespace ropewalk {

// Calls `fault` before every call that opens, reads or changes something on the disk (an open() that may create the
// file is named "create"). If `fault` returns an error number other than 0, the call fails with it and the disk does
// not change. fsync() only calls `fault`, for speed.
class FaultyFileSystem : public FileSystem {
 public:
  using Fault = std::function<int(const char* call)>;
  explicit FaultyFileSystem(Fault fault, FileOwner owner = FileOwner::kRun)
      : FileSystem(owner), fault_(std::move(fault)) {}

  int open(const char* path, int flags, mode_t mode) override;
  ssize_t read(int file, void* data, size_t bytes) override;
  ssize_t write(int file, const void* data, size_t bytes) override;
  ssize_t pwrite(int file, const void* data, size_t bytes, int64_t offset) override;
  ssize_t pread(int file, void* data, size_t bytes, int64_t offset) override;
  int ftruncate(int file, int64_t bytes) override;
  int fsync(int file) override;
  int flock(int file, int operation) override;
  int close(int file) override;  // always closes, as Linux does
  int rename(const char* from, const char* to) override;
  int mkdir(const char* path, mode_t mode) override;
  int unlink(const char* path) override;
  int rmdir(const char* path) override;

 private:
  bool fails(const char* call);
  Fault fault_;
};

// Every second call is interrupted (errno EINTR), except those that are named by `spared`; writes and reads transfer at
// most a few bytes. Several threads may share it.
class ReluctantFileSystem : public FaultyFileSystem {
 public:
  ReluctantFileSystem(size_t most_written, size_t most_read, FileOwner owner = FileOwner::kRun, std::string spared = "")
      : FaultyFileSystem([this, spared](const char* call) { return call != spared && ++calls_ % 2 ? EINTR : 0; },
                         owner),
        most_written_(most_written),
        most_read_(most_read) {}
  ssize_t write(int file, const void* data, size_t bytes) override;
  ssize_t pread(int file, void* data, size_t bytes, int64_t offset) override;

 private:
  std::atomic<int> calls_ = 0;
  size_t most_written_, most_read_;
};

// Counts calls, of several ranks together if they share it; call number `at` fails, or all calls from there on.
class CallCounter {
 public:
  enum class Mode { kOnce, kFromThereOn };
  CallCounter(int64_t at, Mode mode, int error) : at_(at), mode_(mode), error_(error) {}
  int operator()() {
    const int64_t call = calls_++;
    return (mode_ == Mode::kOnce ? call == at_ : call >= at_) ? error_ : 0;
  }
  bool reached() const { return calls_ > at_; }

 private:
  std::atomic<int64_t> calls_ = 0;
  int64_t at_;
  Mode mode_;
  int error_;
};

// A disk whose power fails: it works until call number `at`; from then on every call fails. cut() then leaves the disk
// in the worst state that is possible after a power cut: without fsync(), files are empty, and new names, new
// directories and renames are lost, but all removals have happened. A file's data are durable after fsync() of the
// file, its name after fsync() of the directory.
class PowerCutFileSystem : public FileSystem {
 public:
  PowerCutFileSystem(std::filesystem::path root, int64_t at, FileOwner owner = FileOwner::kRun)
      : FileSystem(owner), root_(std::move(root)), power_(at, CallCounter::Mode::kFromThereOn, EIO) {}
  bool reached() const { return power_.reached(); }
  void cut();  // call when all ranks have ended

  int open(const char* path, int flags, mode_t mode) override;
  ssize_t write(int file, const void* data, size_t bytes) override;
  ssize_t pwrite(int file, const void* data, size_t bytes, int64_t offset) override;
  int ftruncate(int file, int64_t bytes) override;
  int fsync(int file) override;
  int rename(const char* from, const char* to) override;
  int mkdir(const char* path, mode_t mode) override;
  int unlink(const char* path) override;
  int rmdir(const char* path) override;

 private:
  struct NewName {  // a name that fsync() of its directory makes durable
    ino_t directory, entry;
    std::string from, to;                 // for a rename
    std::optional<std::string> replaced;  // contents of the file that a rename replaced
  };
  bool fails();
  std::map<ino_t, std::filesystem::path> paths() const;  // of everything below root_

  std::filesystem::path root_;
  std::mutex mutex_;
  CallCounter power_;
  std::set<ino_t> volatile_files_;
  std::vector<NewName> new_names_;
};

}  // namespace ropewalk

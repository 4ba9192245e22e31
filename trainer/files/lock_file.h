// A lock that one process at a time holds, by flock() on a file. The system releases it however the process ends.
#pragma once

#include <filesystem>
#include <string>

#include "trainer/files/file_system.h"

namespace ropewalk {

class LockFile {
 public:
  enum class AtEnd { kStays, kRemoved };  // what happens to the file when the holder releases the lock

  // Creates the file if it does not exist, and tries to lock it. Throws the owner's error (FileError for a run) if the
  // file cannot be opened, or cannot be written for another reason than a full disk. Also throws (with `reason` 0), and
  // does not change the file, if a file of that name is not a lock.
  LockFile(std::filesystem::path path, AtEnd at_end, FileSystem& system = real_file_system());
  ~LockFile();
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;

  enum class State { kHeld, kHeldByAnother, kNoLocks };  // kNoLocks: the file system has no locks
  State state() const { return state_; }
  State try_again();
  // Who holds the lock, as written in the file by the holder: "process 17 on node1"; printable.
  const std::string& holder() const { return holder_; }

 private:
  void open();
  void close();

  std::filesystem::path path_;
  std::string holder_;
  AtEnd at_end_;
  FileSystem& system_;
  State state_ = State::kNoLocks;
  int file_ = -1;
};

// Whether errno `reason` means a full disk or quota. LockFile ignores that when it writes the holder's name, which
// other processes only print.
inline bool is_no_room(int reason) { return reason == ENOSPC || reason == EDQUOT; }

}  // namespace ropewalk

// A file that one process at a time holds: the system lets go of it when the process ends, however it does.
#pragma once

#include <filesystem>
#include <string>

#include "trainer/files/file_system.h"

namespace ropewalk {

class LockFile {
 public:
  enum class AtEnd { kStays, kRemoved };  // what becomes of the file when the holder lets go of it

  // Makes the file where there is none, and tries to hold it. Throws the owner's error (FileError for a run): it cannot be opened or written, or it
  // is there and is no lock (`reason` 0), which is never written to.
  LockFile(std::filesystem::path path, AtEnd at_end, FileSystem& system = real_file_system());
  ~LockFile();
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;

  enum class State { kHeld, kHeldByAnother, kNoLocks };  // kNoLocks: this file system has none
  State state() const { return state_; }
  State try_again();
  // Who holds it, as it wrote itself: "process 17 on node1"; printable.
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

// The name in a lock only tells who holds it, so a disk too full to write it is no error.
inline bool is_no_room(int reason) { return reason == ENOSPC || reason == EDQUOT; }

}  // namespace ropewalk

// A file that one process at a time holds: the system lets go of it when the process ends, however it does.
#pragma once

#include <string>

namespace ropewalk {

class LockFile {
 public:
  enum class AtEnd { kStays, kRemoved };  // what becomes of the file when the holder lets go of it

  // Makes the file where there is none, never through a symbolic link, and tries to hold it. Throws std::system_error
  // where it cannot be opened or written.
  LockFile(std::string path, AtEnd at_end);
  ~LockFile();
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;

  enum class State { kHeld, kHeldByAnother, kNoLocks };  // kNoLocks: this file system has none
  State state() const { return state_; }
  const std::string& holder() const { return holder_; }  // who holds it, as it wrote itself; printable

 private:
  void open();
  void let_go();
  bool has_name() const;  // the path still leads to the open file

  std::string path_, holder_;
  AtEnd at_end_;
  State state_ = State::kNoLocks;
  int file_ = -1;
};

}  // namespace ropewalk

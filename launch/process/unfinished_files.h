// Files that are of no use after the end of the process that writes them: half-written ones, and their locks.
//
// Their owner's destructor removes them, but not every end of a rank unwinds the stack. A rank whose wait fails reports
// and ends on the spot (Process::failure_handler). mpirun ends the ranks of a failed job by SIGTERM and, a second
// later, SIGKILL, and a rank may be in a long computation then. So Process, before it reports a failure, and
// StopSignals, in the signal handler, call remove().
#pragma once

#include <atomic>
#include <string>
#include <vector>

namespace ropewalk {

class UnfinishedFiles {
 public:
  // The files exist. They are removed in this order: a lock comes last. Only one object may exist at a time, because
  // signal handlers belong to the process.
  explicit UnfinishedFiles(std::vector<std::string> paths);
  ~UnfinishedFiles();
  UnfinishedFiles(const UnfinishedFiles&) = delete;
  UnfinishedFiles& operator=(const UnfinishedFiles&) = delete;

  // Gives the files back to their owner: remove() does nothing from now on. False if it has removed them; their names
  // may be those of another process's files by now.
  bool release();
  // Removes the files of the object that exists, if there is one. May be called by a signal handler.
  static void remove();

 private:
  std::vector<std::string> paths_;
  bool released_ = false;
  std::atomic<bool> removed_ = false;
};

}  // namespace ropewalk

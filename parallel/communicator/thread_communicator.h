// Ranks as threads of one process. Tests use it to run any mesh on one machine; a run of a single rank uses it to do
// without MPI. The rank that posts last, sender or receiver, copies the message from tensor to tensor. So messages make
// progress whatever the order in which ranks wait for their exchanges.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "parallel/communicator/communicator.h"

namespace ropewalk {

class ThreadGroup;

class ThreadWorld {
 public:
  // A wait that lasts longer than the deadline fails, and so does the whole world.
  ThreadWorld(int size, std::chrono::milliseconds deadline);
  ~ThreadWorld();

  // The communicator of the thread that acts as `rank`. It may outlive this ThreadWorld.
  std::shared_ptr<Communicator> communicator(int rank) const;
  // All waits, and all later calls, of all ranks in all groups throw CommunicationError with this reason.
  void fail(const std::string& reason);

 private:
  std::shared_ptr<ThreadGroup> group_;
};

}  // namespace ropewalk

// The transfers that a rank has under way and drives while it does something else: while it computes (KernelsBetween)
// and while it waits for another transfer, in any group of the world. So a rank that waits for one peer does not hold
// up those that wait for it.
#pragma once

#include <memory>
#include <vector>

#include "parallel/communicator/communicator.h"

namespace ropewalk {

class ProgressEngine {
 public:
  // The same transfer, driven from now on until it is waited for or destroyed, which must be before this is.
  std::unique_ptr<Transfer> driven(std::unique_ptr<Transfer> transfer);
  // Moves all on as far as they go without waiting. What fails throws CommunicationError and is not driven any more.
  void progress();
  double seconds() const { return seconds_; }  // spent in progress() so far

 private:
  class Driven;

  std::vector<Transfer*> transfers_;
  bool driving_ = false;
  double seconds_ = 0.0;
};

}  // namespace ropewalk

// Progress engine: the transfers that a rank has started and not waited for. They are polled after every operation of
// the rank's kernels (kernels/poller.h) and in every wait for another transfer, in any group of the world; so a rank
// that waits for one peer does not hold up those that wait for it.
#pragma once

#include <memory>
#include <vector>

#include "kernels/poller.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

class ProgressEngine final : public Poller {
 public:
  // The same transfer, polled from now on until it is waited for or destroyed, which must be before this is.
  std::unique_ptr<Transfer> driven(std::unique_ptr<Transfer> transfer);
  // Advances all as far as they go without waiting. What fails throws CommunicationError and is not polled any more.
  void poll() override;
  double seconds() const { return seconds_; }  // spent in poll() so far

 private:
  class Driven;

  std::vector<Transfer*> transfers_;
  bool driving_ = false;
  double seconds_ = 0.0;
};

}  // namespace ropewalk

// Progress engine: the outstanding transfers of a rank. It polls them after every operation of the rank's kernels
// (kernels/poller.h) and in every wait for another transfer, in any group of the world; so a rank that waits for one
// peer does not hold up the peers that wait for it.
#pragma once

#include <memory>
#include <vector>

#include "kernels/poller.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

class ProgressEngine final : public Poller {
 public:
  // The same transfer, polled from now on until it is complete, waited for or destroyed; the engine must outlive it.
  // Returns the transfer as it is where it needs no polling.
  std::unique_ptr<Transfer> track(std::unique_ptr<Transfer> transfer);
  // Advances all transfers without blocking. Throws the CommunicationError of one that fails, and polls that one no
  // more.
  void poll() override;
  double seconds() const { return seconds_; }  // spent in poll() so far

 private:
  class TrackedTransfer;

  std::vector<Transfer*> transfers_;
  bool polling_ = false;
  double seconds_ = 0.0;
};

}  // namespace ropewalk

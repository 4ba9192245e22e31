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
  // Returns the transfer, which poll() advances from now on, until it is complete, waited for or destroyed. The
  // engine must outlive it. Does nothing with a transfer that needs no polling.
  std::unique_ptr<Transfer> track(std::unique_ptr<Transfer> transfer);
  // Advances all transfers without blocking. Throws the CommunicationError of a transfer that fails, which is then no
  // longer polled.
  void poll() override;
  double seconds() const { return seconds_; }  // spent in poll() so far

 private:
  class TrackedTransfer;

  std::vector<Transfer*> transfers_;
  bool polling_ = false;
  double seconds_ = 0.0;
};

}  // namespace ropewalk

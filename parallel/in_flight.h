// The transfers that a rank drives while it computes.
#pragma once

#include <cstddef>
#include <vector>

#include "parallel/communicator.h"

namespace ropewalk {

class InFlight {
 public:
  // Is driven from now on, until it is done or removed; it must not be destroyed before.
  void add(Transfer& transfer) {
    if (transfer.needs_driving()) transfers_.push_back(&transfer);
  }
  void remove(Transfer& transfer) { std::erase(transfers_, &transfer); }
  void progress() {  // throws CommunicationError
    for (size_t i = 0; i < transfers_.size();) {
      if (transfers_[i]->progress())
        transfers_.erase(transfers_.begin() + static_cast<std::ptrdiff_t>(i));
      else
        ++i;
    }
  }

 private:
  std::vector<Transfer*> transfers_;
};

}  // namespace ropewalk

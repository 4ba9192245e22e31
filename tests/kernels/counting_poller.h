// A poller that only counts how often it is polled.
#pragma once

#include "kernels/poller.h"

namespace ropewalk {

struct CountingPoller final : Poller {
  void poll() override { ++polls; }
  int polls = 0;
};

}  // namespace ropewalk

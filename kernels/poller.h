// Work that goes on while a rank computes but advances only when it is called, such as messages of MPI: whoever owns it
// registers it with the rank's Kernels, which poll it after every operation.
#pragma once

namespace ropewalk {

class Poller {
 public:
  virtual ~Poller() = default;
  virtual void poll() = 0;  // never waits; throws what the work throws
};

}  // namespace ropewalk

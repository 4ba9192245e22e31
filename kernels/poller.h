// Work that goes on while a rank computes but advances only when it is called, such as messages of MPI: a
// Kernels::Polling has it polled after every operation.
#pragma once

namespace ropewalk {

class Poller {
 public:
  virtual ~Poller() = default;
  virtual void poll() = 0;  // never waits; throws what the work throws
};

}  // namespace ropewalk

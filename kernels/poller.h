// Asynchronous work that makes progress only when it is polled, such as MPI messages. While a Kernels::Polling exists,
// its poller is polled after every operation.
#pragma once

namespace ropewalk {

class Poller {
 public:
  virtual ~Poller() = default;
  virtual void poll() = 0;  // never waits; throws the errors of the work
};

}  // namespace ropewalk

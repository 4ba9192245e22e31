// How long a wait has lasted, as far as this process was there to see. Whoever waits looks often; where much time has
// passed between two looks, the process did not run: the machine slept or was moved, or a signal stopped the process.
// Its peers then did not run either, or answered someone who was not there, so hardly any of that time is theirs. A
// process that goes on is never seen as one that stands still: time counts, only more slowly.
#pragma once

#include <algorithm>
#include <chrono>

#include "kernels/clock.h"

namespace ropewalk {

class WatchedTime {
 public:
  explicit WatchedTime(std::chrono::duration<double> deadline, double now = steady_seconds())
      : deadline_(deadline.count()), last_(now) {}

  void look(double now = steady_seconds()) {
    seconds_ += std::min(now - last_, longest_step());
    last_ = now;
  }
  double seconds() const { return seconds_; }
  // since: what seconds() was when the wait began.
  bool is_over(double since = 0.0) const { return seconds_ - since >= deadline_; }

 private:
  // Well above what a process waits for its turn on a core that it shares; a deadline of less is the user's own wish.
  double longest_step() const { return std::min(1.0, deadline_ / 10); }

  double deadline_, last_, seconds_ = 0.0;
};

}  // namespace ropewalk

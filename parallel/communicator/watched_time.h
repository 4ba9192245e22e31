// The duration of a wait, without the time in which this process did not execute. A wait looks often; where much time
// has passed between two looks, the machine slept or was moved, or a signal stopped the process. Its peers then did not
// execute either, or responded to a process that could not see it, so little of that time counts against them. Time
// always counts, only more slowly, so a deadline is reached in any case.
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
  // Well above what a process waits for its turn on a shared core; a user may ask for a shorter deadline.
  double longest_step() const { return std::min(1.0, deadline_ / 10); }

  double deadline_, last_, seconds_ = 0.0;
};

}  // namespace ropewalk

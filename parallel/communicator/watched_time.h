// The duration of a wait, in which a suspension of this process hardly counts. A wait calls look() at every poll, and
// the time between two looks counts for at most 1 s or a tenth of the deadline, whichever is less. A longer gap means
// that this process was suspended: the machine slept or was migrated, or a signal stopped the process. During the gap
// its peers may have been suspended too, or may have sent messages that this process could not see, so the gap does not
// show that they are unresponsive. Every look counts something, so a deadline is always reached.
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
  // The most that the time between two looks counts for. 1 s is well above the time that a process waits for its turn
  // on a shared core. For deadlines below 10 s the limit is a tenth of the deadline.
  double longest_step() const { return std::min(1.0, deadline_ / 10); }

  double deadline_, last_, seconds_ = 0.0;
};

}  // namespace ropewalk

#include "trainer/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace ropewalk {

double learning_rate_at(const TrainingConfig& training, int64_t step) {
  const double high = training.learning_rate, low = training.minimum_rate;
  if (step < training.warmup_steps)
    return high * static_cast<double>(step + 1) / static_cast<double>(training.warmup_steps);
  // Fraction of the run's last `length` steps that is done before this one. It reaches 1 only after the last step, so
  // no step is wasted on a rate of 0.
  const auto share_of_last = [&](int64_t length) {
    const double done = static_cast<double>(step - (training.steps - length));
    return length > 0 ? std::clamp(done / static_cast<double>(length), 0.0, 1.0) : 0.0;
  };
  switch (training.schedule) {
    case TrainingConfig::Schedule::kCosine: {
      const double t = share_of_last(training.steps - training.warmup_steps);
      return low + (high - low) * 0.5 * (1.0 + std::cos(std::numbers::pi * t));
    }
    case TrainingConfig::Schedule::kWarmupStableDecay:
      return high + (low - high) * share_of_last(training.decay_steps);
    case TrainingConfig::Schedule::kConstant:
      return high;
  }
  return high;
}

}  // namespace ropewalk

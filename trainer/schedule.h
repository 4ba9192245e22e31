// The learning rate as a function of the step.
#pragma once

#include "trainer/config/config.h"

namespace ropewalk {

// Rate of step `step` (from 0). Warm-up: learning_rate * (step + 1) / warmup_steps. After it, by schedule:
//   kCosine: minimum_rate + (learning_rate - minimum_rate) * (1 + cos(pi t)) / 2, where t goes from 0 after the warm-up
//       to 1 after the run's last step
//   kWarmupStableDecay: learning_rate, then a straight line to minimum_rate over the last decay_steps steps (Hu et al.,
//       arXiv 2404.06395)
//   kConstant: learning_rate
double learning_rate_at(const TrainingConfig& training, int64_t step);

}  // namespace ropewalk

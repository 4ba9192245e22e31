// The learning rate as a function of the step.
#pragma once

#include "trainer/config/config.h"

namespace ropewalk {

// Rate of step `step` (from 0). Warm-up: learning_rate * (step + 1) / warmup_steps. Then, with t in [0, 1] the share of
// the decay done: cosine minimum + (learning - minimum) * (1 + cos(pi t)) / 2; warm-up-stable-decay the straight line
// between the two over the last decay_steps (Hu et al., arXiv 2404.06395).
double learning_rate_at(const TrainingConfig& training, int64_t step);

}  // namespace ropewalk

// Text from a model: one token after another, each from a whole forward pass.
#pragma once

#include "trainer/inference/predictor.h"

namespace ropewalk {

struct SamplingOptions {
  int64_t tokens = 200;      // at most
  double temperature = 0.8;  // 0: the likeliest token
  uint64_t seed = 1;
  int32_t end = -1;  // the token to stop before
};

// The continuation of `prompt` (at least one token); the same on all ranks. Collective.
std::vector<int32_t> generate(const Predictor& predictor, std::vector<int32_t> prompt, const SamplingOptions& options);

}  // namespace ropewalk

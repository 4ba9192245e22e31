// Autoregressive sampling. There is no KV cache: each token takes a forward pass over the complete sequence.
#pragma once

#include "trainer/inference/predictor.h"

namespace ropewalk {

struct SamplingOptions {
  int64_t tokens = 200;      // generates at most this many
  double temperature = 0.8;  // 0: always the likeliest token
  uint64_t seed = 1;
  int32_t end = -1;  // stops before this token; -1: never
};

// Returns the continuation of `prompt` (at least one token), without it; the same on all ranks. Collective.
std::vector<int32_t> generate(const Predictor& predictor, std::vector<int32_t> prompt, const SamplingOptions& options);

}  // namespace ropewalk

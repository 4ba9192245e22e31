// Chooses the next token from its logits.
#pragma once

#include <cstdint>
#include <span>

namespace ropewalk {

struct Sampling {
  double temperature = 0.8;  // 0: always the likeliest token, of equally likely ones the first
  // Draws from the nucleus (Holtzman et al., arXiv 1904.09751): the fewest tokens whose probabilities sum to top_p or
  // more, the likeliest first, of equally likely ones the first. 1: from all tokens.
  double top_p = 1;
  uint64_t seed = 1;  // token i of a continuation is a function of the logits, the seed and i
};

struct Draw {
  int32_t token;
  double log_probability;  // of the token: natural, of the model (at temperature 1, from all tokens)
};

// Token number `index` of a continuation, from the logits [V].
Draw draw(std::span<const double> logits, const Sampling& sampling, int64_t index);

}  // namespace ropewalk

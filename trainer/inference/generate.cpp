#include "trainer/inference/generate.h"

#include <algorithm>
#include <cmath>

#include "kernels/random.h"

namespace ropewalk {
namespace {

// Draws from softmax(logits / temperature); u: a uniform random number in [0, 1).
int32_t draw(const std::vector<double>& logits, double temperature, double u) {
  const auto likeliest = std::max_element(logits.begin(), logits.end());
  if (temperature <= 0) return static_cast<int32_t>(likeliest - logits.begin());
  std::vector<double> cumulative(logits.size());
  double sum = 0;
  for (size_t v = 0; v < logits.size(); ++v) cumulative[v] = sum += std::exp((logits[v] - *likeliest) / temperature);
  const auto chosen = std::upper_bound(cumulative.begin(), cumulative.end(), u * sum);
  return static_cast<int32_t>(std::min<std::ptrdiff_t>(chosen - cumulative.begin(), std::ssize(logits) - 1));
}

}  // namespace

std::vector<int32_t> generate(const Predictor& predictor, std::vector<int32_t> prompt, const SamplingOptions& options) {
  CHECK(!prompt.empty(), "an empty prompt");
  const RandomStream stream(options.seed, "sample");
  const size_t begin = prompt.size();
  for (int64_t i = 0; i < options.tokens; ++i) {
    const int32_t token =
        draw(predictor.next_token_logits(prompt), options.temperature, stream.uniform(static_cast<uint64_t>(i)));
    if (token == options.end) break;
    prompt.push_back(token);
  }
  return {prompt.begin() + static_cast<std::ptrdiff_t>(begin), prompt.end()};
}

}  // namespace ropewalk

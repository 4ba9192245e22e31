#include "trainer/inference/sampling.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/random.h"

namespace ropewalk {
namespace {

// exp((logit - largest) / temperature) of each token; 0 where that is not a number.
std::vector<double> weights_of(std::span<const double> logits, double largest, double temperature) {
  std::vector<double> weights;
  weights.reserve(logits.size());
  for (const double logit : logits) {
    const double weight = std::exp((logit - largest) / temperature);
    weights.push_back(weight >= 0 ? weight : 0);
  }
  return weights;
}

// Sets the weights of tokens outside the nucleus to 0.
void keep_nucleus(double top_p, std::vector<double>& weights) {
  double sum = 0, kept = 0;
  for (const double weight : weights) sum += weight;
  std::vector<size_t> heap(weights.size());  // the likeliest first; most tokens are never sorted
  for (size_t v = 0; v < heap.size(); ++v) heap[v] = v;
  const auto later = [&](size_t a, size_t b) { return weights[a] != weights[b] ? weights[a] < weights[b] : a > b; };
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty() && kept < top_p * sum) {
    std::pop_heap(heap.begin(), heap.end(), later);
    kept += weights[heap.back()];
    heap.pop_back();
  }
  for (const size_t v : heap) weights[v] = 0;
}

}  // namespace

Draw draw(std::span<const double> logits, const Sampling& sampling, int64_t index) {
  const auto likeliest = std::ranges::max_element(logits);
  std::ptrdiff_t chosen = likeliest - logits.begin();
  if (sampling.temperature > 0) {
    std::vector<double> cumulative = weights_of(logits, *likeliest, sampling.temperature);
    if (sampling.top_p < 1) keep_nucleus(sampling.top_p, cumulative);
    double sum = 0;
    for (double& weight : cumulative) weight = sum += weight;
    const double u = RandomStream(sampling.seed, "sample").uniform(static_cast<uint64_t>(index));  // u * sum < sum
    chosen = std::ranges::upper_bound(cumulative, u * sum) - cumulative.begin();
    chosen = std::min(chosen, std::ssize(logits) - 1);  // of logits that are not numbers
  }
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - *likeliest);
  return {static_cast<int32_t>(chosen), logits[static_cast<size_t>(chosen)] - *likeliest - std::log(sum)};
}

}  // namespace ropewalk

#include "trainer/data/blended_samples.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "kernels/error.h"

namespace ropewalk {
namespace {

constexpr uint64_t kOne = uint64_t{1} << 32;  // W = 1
constexpr uint64_t kSmallestBlock = 64;       // so that proportions of small numbers make no visible pattern

// The sum of floor((a i + c) / m) over i < n, by the steps of Euclid's algorithm for a and m. All below 2^21.
uint64_t floor_sum(uint64_t n, uint64_t m, uint64_t a, uint64_t c) {
  uint64_t sum = 0;
  while (n > 0) {
    sum += n * (n - 1) / 2 * (a / m) + n * (c / m);
    a %= m;
    c %= m;
    const uint64_t top = a * n + c;  // the points below the line are counted along the other axis
    n = top / m;
    c = top % m;
    std::swap(a, m);
  }
  return sum;
}

}  // namespace

BlendOrder::BlendOrder(std::span<const double> weights, std::string_view name, uint64_t seed)
    : bounds_{0}, offsets_(seed, name) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double sum = 0;
  uint64_t smallest = kOne;
  for (const double weight : weights) {
    sum += weight;
    bounds_.push_back(static_cast<uint64_t>(std::llround(sum / total * static_cast<double>(kOne))));
    smallest = std::min(smallest, bounds_.back() - bounds_[bounds_.size() - 2]);
  }
  CHECK(bounds_.back() == kOne && smallest > kOne >> 20 && smallest <= kOne, "weights of a blend, {} in all", total);
  block_ = std::bit_ceil(std::max(kSmallestBlock, (kOne + smallest - 1) / smallest));
  factor_ = static_cast<uint64_t>(static_cast<double>(block_) / std::numbers::phi) | 1;
}

// In two halves, because the product has more than 64 bits.
uint64_t BlendOrder::before(size_t dataset, uint64_t samples) const {
  const uint64_t high = samples / kOne, low = samples % kOne;
  return high * bounds_[dataset] + (low * bounds_[dataset] + kOne / 2) / kOne;
}

uint64_t BlendOrder::begin(size_t dataset, uint64_t block) const {
  return before(dataset, (block + 1) * block_) - before(dataset, block * block_);
}

uint64_t BlendOrder::offset(uint64_t block) const { return offsets_.bits(block)[0] % block_; }

uint64_t BlendOrder::count(size_t dataset, uint64_t samples) const {
  const uint64_t block = samples / block_, positions = samples % block_, k = offset(block);
  const uint64_t whole = before(dataset + 1, block * block_) - before(dataset, block * block_);
  // Positions with an entry below `limit`: the sum of floor((a p + k) / B) - floor((a p + k - limit) / B).
  const auto below = [&](uint64_t limit) {
    return floor_sum(positions, block_, factor_, k) + positions -
           floor_sum(positions, block_, factor_, k + block_ - limit);
  };
  return whole + below(begin(dataset + 1, block)) - below(begin(dataset, block));
}

BlendOrder::Place BlendOrder::at(uint64_t sample) const {
  const uint64_t block = sample / block_, entry = (factor_ * (sample % block_) + offset(block)) % block_;
  size_t dataset = 0;
  while (begin(dataset + 1, block) <= entry) ++dataset;
  return {dataset, count(dataset, sample)};
}

BlendedSamples::BlendedSamples(std::vector<const Samples*> parts, BlendOrder order)
    : parts_(std::move(parts)), order_(std::move(order)) {
  uint64_t repeats = uint64_t{1} << 62;  // so many samples repeat one, epoch_ samples do not
  while (repeats - epoch_ > 1) {
    const uint64_t middle = epoch_ + (repeats - epoch_) / 2;
    bool fits = true;
    for (size_t d = 0; d < parts_.size(); ++d) fits = fits && order_.count(d, middle) <= parts_[d]->samples_per_epoch();
    (fits ? epoch_ : repeats) = middle;
  }
}

Sample BlendedSamples::at(uint64_t index) const {
  const BlendOrder::Place place = order_.at(index);
  return parts_[place.dataset]->at(place.index);
}

}  // namespace ropewalk

// Mixes datasets by weight. Which dataset sample i comes from, and which of that dataset's samples it is, is a pure
// function of i, the weights and a seed, in O(datasets).
//
// Samples come in blocks of B, a power of two. With W_d the sum of the weights of the datasets before d, of a total of
// 1, the first n samples have
//
//     C_d(n) = round(n W_(d+1)) - round(n W_d)
//
// samples of dataset d, if n is a multiple of B: within 1 of its share. Block b so has C_d((b+1) B) - C_d(b B) of them.
// That is never negative, because B is at least 1 / weight of each dataset. Within the block they are spread evenly: in
// a list of the block's samples, sorted by dataset, position p of the block takes entry (a p + k) mod B. The factor a
// is the odd number near B / golden ratio, the offset k is drawn from the seed for each block. How many of the first p
// positions belong to a dataset is a sum of floor((a i + c) / B) over i < p, which takes O(log B) steps. Each dataset's
// samples come in its own order, each once.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/random.h"
#include "trainer/data/samples.h"

namespace ropewalk {

class BlendOrder {
 public:
  struct Place {
    size_t dataset;
    uint64_t index;  // of the dataset's samples
  };

  // Weights of any sum; each at least kSmallestShare of it (trainer/config/blend_rules.h). `name` and `seed` determine
  // the offsets.
  BlendOrder(std::span<const double> weights, std::string_view name, uint64_t seed);
  Place at(uint64_t sample) const;
  uint64_t count(size_t dataset, uint64_t samples) const;  // of the dataset's samples among the first `samples`
  uint64_t block() const { return block_; }                // B

 private:
  uint64_t before(size_t dataset, uint64_t samples) const;  // round(samples W_d)
  uint64_t begin(size_t dataset, uint64_t block) const;     // its first entry in the block's sorted list
  uint64_t offset(uint64_t block) const;                    // k

  std::vector<uint64_t> bounds_;  // W_d in units of 2^-32, for d = 0 to the number of datasets
  uint64_t block_ = 0, factor_ = 0;
  RandomStream offsets_;
};

class BlendedSamples : public Samples {
 public:
  // `parts` must outlive this object.
  BlendedSamples(std::vector<const Samples*> parts, BlendOrder order);
  Sample at(uint64_t index) const override;
  // How many samples come before the first that repeats another: before a dataset begins its second epoch.
  uint64_t samples_per_epoch() const override { return epoch_; }

 private:
  std::vector<const Samples*> parts_;
  BlendOrder order_;
  uint64_t epoch_ = 0;
};

}  // namespace ropewalk

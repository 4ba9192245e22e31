// Counter-based random numbers: a value is a function of (seed, name, index) and of nothing else, so every mesh draws
// the same weights. Philox-4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace ropewalk {

// The block function: 128 random bits from a counter and a key.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// A stream of independent random numbers. Streams of different names are independent, even with the same seed.
class RandomStream {
 public:
  RandomStream(uint64_t seed, std::string_view name);

  std::array<uint32_t, 4> bits(uint64_t index) const;  // 128 random bits
  double uniform(uint64_t index) const;                // in [0, 1), 53 bits
  double normal(uint64_t index) const;                 // standard normal, by Box-Muller

 private:
  std::array<uint32_t, 2> key_;
};

// A permutation of [0, count) that is evaluated one element at a time: a Feistel network with cycle walking, so a
// shuffled order needs no table.
class RandomPermutation {
 public:
  RandomPermutation(uint64_t seed, std::string_view name, uint64_t count);
  uint64_t operator()(uint64_t index) const;  // index < count

 private:
  RandomStream stream_;
  uint64_t count_;
  int half_bits_;
};

}  // namespace ropewalk

#include "kernels/random.h"

#include <cmath>
#include <numbers>

#include "kernels/error.h"

namespace ropewalk {
namespace {

uint64_t fnv1a(std::string_view text, uint64_t hash) {
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3ULL;
  return hash;
}

// SplitMix64's finaliser: spreads a small seed over all bits of the key.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0], p1 = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return c;
}

RandomStream::RandomStream(uint64_t seed, std::string_view name) {
  const uint64_t key = mix(fnv1a(name, 0xcbf29ce484222325ULL) ^ mix(seed));
  key_ = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
}

std::array<uint32_t, 4> RandomStream::bits(uint64_t index) const {
  return philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), 0, 0}, key_);
}

namespace {
double unit(uint32_t high, uint32_t low) {
  return static_cast<double>(((uint64_t{high} << 32) | low) >> 11) * 0x1.0p-53;
}
}  // namespace

double RandomStream::uniform(uint64_t index) const {
  const auto b = bits(index);
  return unit(b[0], b[1]);
}

double RandomStream::normal(uint64_t index) const {
  const auto b = bits(index);
  const double u = 1.0 - unit(b[0], b[1]);  // in (0, 1]: its logarithm is finite
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * unit(b[2], b[3]));
}

RandomPermutation::RandomPermutation(uint64_t seed, std::string_view name, uint64_t count)
    : stream_(seed, name), count_(count), half_bits_(1) {
  CHECK(count > 0 && count < (uint64_t{1} << 62), "a permutation of {} elements", count);
  while ((uint64_t{1} << (2 * half_bits_)) < count) ++half_bits_;
}

uint64_t RandomPermutation::operator()(uint64_t index) const {
  CHECK(index < count_, "element {} of a permutation of {}", index, count_);
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  do {  // the network permutes [0, 4^half_bits), less than 4 * count; repeat until the result is below count
    uint64_t left = index >> half_bits_, right = index & mask;
    for (uint64_t round = 0; round < 6; ++round) {
      const auto b = stream_.bits((round << 56) ^ right);
      const uint64_t next = left ^ (((uint64_t{b[0]} << 32) | b[1]) & mask);
      left = right;
      right = next;
    }
    index = (left << half_bits_) | right;
  } while (index >= count_);
  return index;
}

}  // namespace ropewalk

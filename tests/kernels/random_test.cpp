#include "kernels/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace ropewalk {
namespace {

// Known answers of Philox-4x32-10 from the authors' Random123 (kat_vectors).
TEST(Philox, GivesTheKnownAnswers) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, IsAFunctionOfSeedNameAndIndex) {
  const RandomStream a(1, "weights"), same(1, "weights"), other_seed(2, "weights"), other_name(1, "order");
  EXPECT_EQ(a.bits(5), same.bits(5));
  EXPECT_NE(a.bits(5), a.bits(6));
  EXPECT_NE(a.bits(5), a.bits(5 + (uint64_t{1} << 32)));
  EXPECT_NE(a.bits(5), other_seed.bits(5));
  EXPECT_NE(a.bits(5), other_name.bits(5));
}

// The means of x, x^2, x^3 and x^4 over n draws lie within five standard errors, which are 1, sqrt 2, sqrt 15 and sqrt
// 96 over sqrt n.
TEST(RandomStream, NormalHasTheMomentsOfANormal) {
  const RandomStream stream(3, "moments");
  const int n = 200000;
  double sums[5] = {};
  for (int i = 0; i < n; ++i) {
    const double x = stream.normal(static_cast<uint64_t>(i));
    for (int power = 1; power <= 4; ++power) sums[power] += std::pow(x, power) / n;
  }
  const double error = 5 / std::sqrt(n);
  EXPECT_NEAR(sums[1], 0, error);
  EXPECT_NEAR(sums[2], 1, error * std::sqrt(2));
  EXPECT_NEAR(sums[3], 0, error * std::sqrt(15));
  EXPECT_NEAR(sums[4], 3, error * std::sqrt(96));
}

TEST(RandomStream, UniformFillsTheUnitInterval) {
  const RandomStream stream(4, "uniform");
  const int n = 100000;
  std::array<int, 10> counts{};
  for (int i = 0; i < n; ++i) {
    const double x = stream.uniform(static_cast<uint64_t>(i));
    ASSERT_TRUE(0 <= x && x < 1);
    ++counts[static_cast<size_t>(x * 10)];
  }
  for (int count : counts) EXPECT_NEAR(count, n / 10, 5 * std::sqrt(0.09 * n));  // five standard deviations
}

TEST(RandomPermutation, IsABijection) {
  for (uint64_t count : {1, 2, 3, 4, 5, 16, 17, 64, 100, 1000}) {
    const RandomPermutation permutation(7, "order", count);
    std::set<uint64_t> seen;
    for (uint64_t i = 0; i < count; ++i) {
      EXPECT_LT(permutation(i), count);
      seen.insert(permutation(i));
    }
    EXPECT_EQ(seen.size(), count);
  }
}

TEST(RandomPermutation, DependsOnTheSeedAndMovesMostElements) {
  const uint64_t count = 1000;
  const RandomPermutation a(7, "order", count), b(8, "order", count);
  int fixed = 0, equal = 0;
  for (uint64_t i = 0; i < count; ++i) {
    fixed += a(i) == i;
    equal += a(i) == b(i);
  }
  EXPECT_LT(fixed, 10);  // one is expected; ten have a probability below 1e-6
  EXPECT_LT(equal, 10);
}

TEST(RandomPermutation, RefusesWhatItDoesNotHold) {
  EXPECT_THROW(RandomPermutation(1, "order", 0), std::logic_error);
  EXPECT_THROW(RandomPermutation(1, "order", 5)(5), std::logic_error);
}

}  // namespace
}  // namespace ropewalk

// Every fp16 is one fp32, and every fp32 rounds to the nearest fp16.
#include "trainer/formats/elements.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/float16.h"

namespace ropewalk {
namespace {

Float16 of_bits(uint32_t bits) {
  Float16 out;
  out.bits = static_cast<uint16_t>(bits);
  return out;
}

// The value of the format's definition: 1 sign, 5 exponent, 10 fraction bits.
double defined_value(uint32_t bits) {
  const double sign = bits & 0x8000 ? -1 : 1, fraction = bits & 0x3ff;
  const int exponent = static_cast<int>((bits >> 10) & 31);
  if (exponent == 31) return fraction > 0 ? NAN : sign * INFINITY;
  return sign * (exponent > 0 ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24));
}

TEST(Float16, WidensExactlyAndBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto wide = static_cast<float>(of_bits(bits));
    const double expected = defined_value(bits);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(wide)) << bits;
      EXPECT_TRUE(std::isnan(static_cast<float>(Float16(wide)))) << bits;
      continue;
    }
    ASSERT_EQ(std::bit_cast<uint64_t>(static_cast<double>(wide)), std::bit_cast<uint64_t>(expected)) << bits;
    ASSERT_EQ(Float16(wide).bits, bits);
  }
}

// Between two neighbours, the nearer one; in the middle, the even one.
TEST(Float16, RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const float low = static_cast<float>(of_bits(bits));
    const float high = bits + 1 < 0x7c00 ? static_cast<float>(of_bits(bits + 1)) : 65536.0f;  // rounds to infinity
    const float middle = low + (high - low) / 2;                                              // exact in fp32
    for (const float sign : {1.0f, -1.0f}) {
      const uint32_t upper = sign < 0 ? 0x8000 : 0;
      ASSERT_EQ(Float16(sign * std::nextafterf(middle, 0)).bits, upper | bits) << middle;
      ASSERT_EQ(Float16(sign * middle).bits, upper | (bits + (bits & 1))) << middle;
      ASSERT_EQ(Float16(sign * std::nextafterf(middle, INFINITY)).bits, upper | (bits + 1)) << middle;
    }
  }
  EXPECT_EQ(Float16(std::numeric_limits<float>::max()).bits, 0x7c00);
  EXPECT_EQ(Float16(std::numeric_limits<float>::denorm_min()).bits, 0);
}

template <typename From, typename To>
std::vector<To> converted(const std::vector<From>& from, int64_t expected_overflows) {
  std::vector<To> out(from.size());
  const int64_t overflows =
      convert_elements(reinterpret_cast<const uint8_t*>(from.data()), dtype_of<From>,
                       reinterpret_cast<uint8_t*>(out.data()), dtype_of<To>, static_cast<int64_t>(from.size()));
  EXPECT_EQ(overflows, expected_overflows);
  return out;
}

TEST(ConvertElements, CountsWhatBecomesInfinite) {
  const std::vector<float> values = {1.5f, -65520, 65519, INFINITY, NAN, 1e30f, 3.4e38f};
  const std::vector<Float16> half = converted<float, Float16>(values, 3);
  EXPECT_EQ(static_cast<float>(half[0]), 1.5f);
  EXPECT_EQ(static_cast<float>(half[1]), -INFINITY);
  EXPECT_EQ(static_cast<float>(half[2]), 65504);
  converted<float, BFloat16>(values, 1);
  converted<float, double>(values, 0);
  converted<double, float>({1e300, 1}, 1);
}

TEST(ConvertElements, NarrowTypesWidenExactly) {
  std::vector<BFloat16> bf16;
  std::vector<Float16> fp16;
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    BFloat16 value;
    value.bits = static_cast<uint16_t>(bits);
    bf16.push_back(value);
    fp16.push_back(of_bits(bits));
  }
  const std::vector<double> wide = converted<BFloat16, double>(bf16, 0);
  const std::vector<float> wide16 = converted<Float16, float>(fp16, 0);
  for (size_t i = 0; i < bf16.size(); ++i) {
    ASSERT_EQ(wide[i], static_cast<double>(static_cast<float>(bf16[i])));
    ASSERT_EQ(wide16[i], static_cast<float>(fp16[i]));
  }
  const std::vector<BFloat16> back = converted<double, BFloat16>(wide, 0);
  for (size_t i = 0; i < bf16.size(); ++i) ASSERT_EQ(back[i].bits, bf16[i].bits);
}

}  // namespace
}  // namespace ropewalk

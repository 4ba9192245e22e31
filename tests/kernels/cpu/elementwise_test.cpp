// The cpu backend's SwiGLU, AdamW and elementwise operations against the reference.
#include <limits>

#include "tests/kernels/cpu/suite.h"

namespace ropewalk {
namespace {

class CpuElementwise : public CpuSuite {};

constexpr int64_t kCounts[] = {0, 1, 7, 8, 33, 64, 1000};

TEST_P(CpuElementwise, AddAndSums) {
  for (const int64_t count : kCounts) {
    Twin a = Twin::normal({count}, "a"), b = Twin::normal({count}, "b"), y = Twin::poison({count});
    double sums[2][2];
    on_both([&](Kernels& k, const View& of) {
      k.add(of(a), of(b), of(y));
      k.add(of(y), of(b), of(y));
      const int which = &k == cpu.get();
      sums[which][0] = k.sum(of(a));
      sums[which][1] = k.sum_of_squares(of(a));
    });
    EXPECT_TRUE(within("add, twice", y.error(), 2 * kRounding));  // two sums
    // Both add the same numbers in fp64: n roundings of 1.1e-16, relative to the sum of absolute values, which is about
    // n.
    EXPECT_NEAR(sums[0][0], sums[1][0], 1.1e-16 * static_cast<double>(count * count));
    EXPECT_NEAR(sums[0][1], sums[1][1], 1.1e-16 * static_cast<double>(count * count));
  }
}

// 16 partial sums, added in order: the same bits on every machine.
TEST_P(CpuElementwise, SumsDoNotDependOnTheWidthOfVectors) {
  std::vector<double> values = normal_values(1003, "x");
  double partials[16] = {}, total = 0;
  for (size_t i = 0; i < values.size(); ++i) partials[i % 16] += values[i] * values[i];
  for (double partial : partials) total += partial;
  Twin x({1003}, values);
  EXPECT_EQ(cpu->sum_of_squares(x.fast()), total);
}

// exp(-g) is off by 2 ulp, so s = 1 / (1 + exp(-g)) is off by 2 ulp and the roundings of the sum and the quotient;
// three products follow. Without fused multiply-add, exp's argument is rounded too: |g| / 2 ulp more. The bound is
// relative to each result, because small results matter.
void expect_relative(const char* result, const Twin& twin, const std::vector<double>& gate, double extra) {
  for (size_t i = 0; i < gate.size(); ++i) {
    const double exact = twin.exact_values()[i], got = twin.fast_values()[i];
    const double bound = (12 + extra * std::abs(gate[i])) * kRounding * std::abs(exact);
    EXPECT_TRUE(within(result, std::abs(got - exact), bound)) << "gate " << gate[i];
  }
}

TEST_P(CpuElementwise, SwiGlu) {
  for (const int64_t count : kCounts) {
    std::vector<double> wide = normal_values(count, "gate");
    for (double& value : wide) value *= 8;  // exact in fp32
    Twin gate({1, count}, wide), up = Twin::normal({1, count}, "up"), h = Twin::poison({1, count});
    Twin dh = Twin::normal({1, count}, "dh"), dgate = Twin::poison({1, count}), dup = Twin::poison({1, count});
    Twin gate_in_place = gate, up_in_place = up;
    on_both([&](Kernels& k, const View& of) {
      k.swiglu_forward(of(gate), of(up), of(h));
      k.swiglu_backward(of(dh), of(gate), of(up), of(dgate), of(dup));
      k.swiglu_backward(of(dh), of(gate_in_place), of(up_in_place), of(gate_in_place), of(up_in_place));
    });
    expect_relative("SwiGLU: h", h, wide, 1);
    expect_relative("SwiGLU: dup", dup, wide, 1);
    EXPECT_TRUE(
        within("SwiGLU: dgate", dgate.error(), 16 * kRounding));  // 1 + g (1 - s) may cancel: relative to the largest
    EXPECT_EQ(gate_in_place.fast_values(), dgate.fast_values());
    EXPECT_EQ(up_in_place.fast_values(), dup.fast_values());
  }
}

TEST_P(CpuElementwise, SwiGluAtTheEndsOfTheRange) {
  const double huge = std::numeric_limits<float>::max();
  Twin gate({1, 8}, {0, -0.0, 100, -100, 0x1p100, -0x1p100, huge, -huge}), up = Twin::filled({1, 8}, 1);
  Twin h = Twin::poison({1, 8});
  cpu->swiglu_forward(gate.fast(), up.fast(), h.fast());
  const std::vector<float> expected = {0, 0, 100, 0, 0x1p100f, 0, std::numeric_limits<float>::max(), 0};
  EXPECT_EQ(h.fast_values(), expected);  // -100 exp(-100) is below the smallest normal number
  const double nan = std::nan("");
  Twin bad({1, 2}, {nan, 1}), ones({1, 2}, {1, nan}), out = Twin::filled({1, 2}, 0);
  cpu->swiglu_forward(bad.fast(), ones.fast(), out.fast());
  EXPECT_TRUE(std::isnan(out.fast_values()[0]) && std::isnan(out.fast_values()[1])) << "a NaN must not be lost";
}

// Every number is the result of at most ten roundings.
TEST_P(CpuElementwise, AdamW) {
  for (const int64_t count : kCounts) {
    for (const int64_t step : {1, 2, 1000}) {
      Twin w = Twin::normal({count}, "w"), g = Twin::normal({count}, "g"), m = Twin::normal({count}, "m");
      std::vector<double> squares = normal_values(count, "v");
      for (double& square : squares) square = static_cast<float>(square * square);
      Twin v({count}, squares);
      on_both([&](Kernels& k, const View& of) {
        k.adamw(of(w), of(g), of(m), of(v), Tensor(), AdamWStep{1e-2, 0.9, 0.95, 1e-3, 0.1, step, 0.5});
      });
      EXPECT_TRUE(within("AdamW: m", m.error(), 10 * kRounding));
      EXPECT_TRUE(within("AdamW: v", v.error(), 10 * kRounding));
      EXPECT_TRUE(within("AdamW: w", w.error(), 10 * kRounding));
    }
  }
}

TEST_P(CpuElementwise, FirstNotFinite) {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    for (const size_t at : {0, 5, 63, 64, 70}) {
      std::vector<double> values(71, std::numeric_limits<float>::max());
      values[at] = bad;
      values[70] = bad;
      Twin x({71}, values);
      EXPECT_EQ(cpu->first_not_finite(x.fast()), static_cast<int64_t>(at));
    }
  }
}

ROPEWALK_CPU_SUITE(CpuElementwise);

}  // namespace
}  // namespace ropewalk

// The cpu backend's cross-entropy against the reference.
#include <limits>

#include "tests/kernels/cpu/suite.h"

namespace ropewalk {
namespace {

class CpuLoss : public CpuSuite {};

constexpr int64_t kVocabularies[] = {1, 2, 7, 16, 33, 1000};
constexpr double kLogitScale = 0.25;

// Logits of size 16, scaled to 4. The absolute error of s l - m is one rounding of a number below 32, at most 32
// roundings at 1. It is the relative error of the exponential, and so of the sum, its logarithm and the gradient.
constexpr double kExponent = 32 * kRounding;

Twin logits_of(int64_t N, int64_t V) {
  std::vector<double> values = normal_values(N * V, "logits");
  for (double& value : values) value *= 16;  // exact in fp32
  return Twin({N, V}, values);
}

TEST_P(CpuLoss, PartialsOfEveryPiece) {
  for (const int64_t V : kVocabularies) {
    for (const int64_t N : {0, 1, 13}) {
      std::vector<int32_t> ids = integer_values(N, -1, 40, "targets");  // ignored, on this rank, on others
      const Tensor targets = tensor_of(ids, {N});
      Twin logits = logits_of(N, V), partials = Twin::poison({N, 3});
      on_both([&](Kernels& k, const View& of) {
        k.cross_entropy_partials(of(logits), targets, 20, kLogitScale, of(partials));
      });
      for (size_t n = 0; n < static_cast<size_t>(N); ++n) {
        const auto got = [&](size_t i) { return static_cast<double>(partials.fast_values()[3 * n + i]); };
        const auto exact = [&](size_t i) { return partials.exact_values()[3 * n + i]; };
        EXPECT_EQ(got(0), exact(0)) << "s is a power of two, so the maximum is exact";
        EXPECT_TRUE(
            within("loss: sum of exponentials", std::abs(got(1) - exact(1)) / exact(1), kExponent + sum_tolerance(V)));
        EXPECT_EQ(got(2), exact(2));
      }
    }
  }
}

TEST_P(CpuLoss, PieceWithoutVocabularyIsNeutral) {
  std::vector<int32_t> ids = {3, -1};
  Twin logits = Twin::normal({2, 0}, "none"), partials = Twin::poison({2, 3});
  on_both([&](Kernels& k, const View& of) {
    k.cross_entropy_partials(of(logits), tensor_of(ids, {2}), 0, 1, of(partials));
  });
  for (size_t n = 0; n < 2; ++n) {
    EXPECT_EQ(partials.fast_values()[3 * n], -std::numeric_limits<float>::infinity());
    EXPECT_EQ(partials.fast_values()[3 * n + 1], 0);
    EXPECT_EQ(partials.fast_values()[3 * n + 2], 0);
  }
}

// Rows of V columns, cut into two pieces at a third; losses and gradients from the merged sums.
TEST_P(CpuLoss, MergedLossAndGradient) {
  for (const int64_t V : kVocabularies) {
    const int64_t N = 9, cut = V / 3;
    std::vector<int32_t> ids = integer_values(N, -1, static_cast<int32_t>(V), "targets");
    ids[0] = -1;
    const Tensor targets = tensor_of(ids, {N});
    Twin left = logits_of(N, cut), right = logits_of(N, V - cut);
    Twin partials = Twin::poison({2, N, 3}), log_sum = Twin::poison({N}), losses = Twin::poison({N});
    on_both([&](Kernels& k, const View& of) {
      const auto piece = [&](int64_t r) { return of(partials).slice(r, r + 1).reshape({N, 3}); };
      k.cross_entropy_partials(of(left), targets, 0, kLogitScale, piece(0));
      k.cross_entropy_partials(of(right), targets, cut, kLogitScale, piece(1));
      k.cross_entropy_merge(of(partials), targets, of(log_sum), of(losses));
      k.cross_entropy_backward(of(left), targets, of(log_sum), 0, kLogitScale, 0.01);
      k.cross_entropy_backward(of(right), targets, of(log_sum), cut, kLogitScale, 0.01);
    });
    EXPECT_EQ(losses.fast_values()[0], 0);
    EXPECT_TRUE(within("loss: log_sum", log_sum.error(), kExponent + sum_tolerance(V)));
    EXPECT_TRUE(within("loss: losses", losses.error(), 2 * kExponent + sum_tolerance(V)));
    // Relative to s * loss_scale, the gradient's largest entry. The exponents also have log_sum's error.
    const double tolerance = (4 * kExponent + sum_tolerance(V)) * kLogitScale * 0.01;
    for (const Twin* gradient : {&left, &right})
      for (size_t i = 0; i < gradient->exact_values().size(); ++i)
        EXPECT_TRUE(within("loss: dlogits",
                           std::abs(static_cast<double>(gradient->fast_values()[i]) - gradient->exact_values()[i]),
                           tolerance))
            << "V " << V;
  }
}

TEST_P(CpuLoss, NotANumberIsNotLost) {
  std::vector<int32_t> ids = {2};
  Twin logits({1, 20}, std::vector<double>(20, 1)), partials = Twin::filled({1, 3}, 0);
  logits.fast().data<float>()[7] = std::nanf("");
  cpu->cross_entropy_partials(logits.fast(), tensor_of(ids, {1}), 0, 1, partials.fast());
  EXPECT_TRUE(std::isnan(partials.fast_values()[1]));
}

ROPEWALK_CPU_SUITE(CpuLoss);

}  // namespace
}  // namespace ropewalk

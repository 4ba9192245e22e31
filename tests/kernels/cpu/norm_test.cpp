// The cpu backend's layer norm and RoPE against the reference.
#include "tests/kernels/cpu/suite.h"

namespace ropewalk {
namespace {

class CpuNorm : public CpuSuite {};

struct Sizes {
  int64_t N, D, M;
};
constexpr Sizes kSizes[] = {{0, 4, 1},   {1, 1, 1},   {3, 2, 1},   {7, 17, 3},
                            {20, 64, 4}, {5, 100, 1}, {3, 513, 2}, {40, 8, 8}};

// Numbers of size 1 around a mean of 3: a few roundings of the mean are three times as large relative to x - mean, and
// so to xhat.
TEST_P(CpuNorm, LayerNormForward) {
  for (const auto& [N, D, M] : kSizes) {
    std::vector<double> values = normal_values(N * D, "x");
    for (double& value : values) value = static_cast<float>(value + 3);
    Twin x({N, D}, values), w = Twin::normal({M, D}, "w");
    Twin y = Twin::poison({N, D}), mean = Twin::poison({N}), rstd = Twin::poison({N});
    on_both([&](Kernels& k, const View& of) { k.layer_norm_forward(of(x), of(w), 1e-2, of(y), of(mean), of(rstd)); });
    const double tolerance = 4 * sum_tolerance(D);
    EXPECT_TRUE(within("layer norm: mean", mean.error(), tolerance)) << N << " x " << D << " by " << M;
    EXPECT_TRUE(within("layer norm: rstd", rstd.error(), tolerance)) << N << " x " << D << " by " << M;
    EXPECT_TRUE(within("layer norm: y", y.error(), tolerance)) << N << " x " << D << " by " << M;
  }
}

TEST_P(CpuNorm, LayerNormBackward) {
  for (const auto& [N, D, M] : kSizes) {
    for (const bool with_through : {false, true}) {
      for (const bool in_place : {false, true}) {
        Twin x = Twin::normal({N, D}, "x"), w = Twin::normal({M, D}, "w"), y = Twin::poison({N, D});
        Twin mean = Twin::poison({N}), rstd = Twin::poison({N});
        Twin dy = Twin::normal({N, D}, "dy"), through = Twin::normal({N, D}, "through");
        Twin apart = Twin::poison({N, D}), added = Twin::normal({M, D}, "dw"), set = Twin::poison({M, D});
        const bool first = in_place;  // dw is set, not added to
        Twin& dw = first ? set : added;
        Twin& dx = !in_place ? apart : with_through ? through : dy;
        on_both([&](Kernels& k, const View& of) {
          k.layer_norm_forward(of(x), of(w), 1e-2, of(y), of(mean), of(rstd));
          k.layer_norm_backward(of(dy), of(x), of(w), of(mean), of(rstd), with_through ? of(through) : Tensor(), of(dx),
                                of(dw), first ? Write::kSet : Write::kAdd);
        });
        // dx is a difference of sums over D; dw is a sum over the N / M rows that use a weight.
        EXPECT_TRUE(within("layer norm: dx", dx.error(), 4 * sum_tolerance(D))) << N << " x " << D << " by " << M;
        EXPECT_TRUE(within("layer norm: dw", dw.error(), 4 * sum_tolerance(D) + sum_tolerance(N / M)))
            << N << " x " << D << " by " << M;
      }
    }
  }
}

// The table's numbers are rounded once, the two products and the sum once each: four roundings of numbers below the
// largest.
TEST_P(CpuNorm, Rotate) {
  for (const int64_t K : {2, 4, 6, 16, 24, 64, 80, 128}) {
    for (const int64_t first : {int64_t{0}, int64_t{250}, int64_t{1000003}}) {
      for (const double theta : {1e4, 4e6}) {
        for (const Rotation direction : {Rotation::kForward, Rotation::kBackward}) {
          Twin x = Twin::normal({9, 3, K}, "x");
          on_both([&](Kernels& k, const View& of) { k.rotate(of(x), first, theta, direction); });
          EXPECT_TRUE(within("rotation", x.error(), 4 * kRounding)) << "K " << K << " from " << first;
        }
      }
    }
  }
}

// Several tables in one backend, which share the head size or theta.
TEST_P(CpuNorm, RotateKeepsTablesApart) {
  for (int round = 0; round < 2; ++round) {
    for (const auto& [K, theta] : {std::pair<int64_t, double>{8, 1e4}, {8, 1e5}, {16, 1e4}}) {
      Twin x = Twin::normal({300, 2, K}, "x");
      on_both([&](Kernels& k, const View& of) { k.rotate(of(x), 100, theta, Rotation::kForward); });
      EXPECT_TRUE(within("rotation", x.error(), 4 * kRounding));
    }
  }
}

TEST_P(CpuNorm, RotateOfNothing) {
  Twin no_rows = Twin::normal({0, 3, 4}, "x"), no_heads = Twin::normal({3, 0, 4}, "x");
  on_both([&](Kernels& k, const View& of) {
    k.rotate(of(no_rows), 5, 1e4, Rotation::kForward);
    k.rotate(of(no_heads), 5, 1e4, Rotation::kForward);
  });
}

ROPEWALK_CPU_SUITE(CpuNorm);

}  // namespace
}  // namespace ropewalk

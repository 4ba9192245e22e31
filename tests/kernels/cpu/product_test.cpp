// The cpu backend's matrix products and embedding against the reference.
#include "kernels/bfloat16.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/kernels/cpu/suite.h"

namespace ropewalk {
namespace {

class CpuProduct : public CpuSuite {};

struct Sizes {
  int64_t N, I, O;
};
constexpr Sizes kSizes[] = {{1, 1, 1},
                            {0, 3, 2},
                            {3, 0, 2},
                            {3, 2, 0},
                            {5, 7, 3},
                            {33, 17, 65},
                            {64, 64, 64},
                            {130, 31, 2},
                            {1, 300, 257},
                            {257, 129, 96},
                            {4, 385, 32},
                            {8, 770, 193},  // ends of strips, and of blocks of the inner dimension
                                            // and of columns
                            {1537, 391, 33},
                            {5, 33, 1537}};  // more rows than a block

TEST_P(CpuProduct, LinearForward) {
  for (const auto& [N, I, O] : kSizes) {
    Twin x = Twin::normal({N, I}, "x"), w = Twin::normal({O, I}, "w"), set = Twin::poison({N, O});
    Twin added = Twin::normal({N, O}, "y");
    on_both([&](Kernels& k, const View& of) {
      k.linear_forward(of(x), of(w), of(set), Write::kSet);
      k.linear_forward(of(x), of(w), of(added), Write::kAdd);
    });
    EXPECT_TRUE(within("linear: y", set.error(), sum_tolerance(I))) << N << " x " << I << " x " << O;
    EXPECT_TRUE(within("linear: y", added.error(), sum_tolerance(I + 1))) << N << " x " << I << " x " << O;
  }
}

TEST_P(CpuProduct, LinearBackwardInput) {
  for (const auto& [N, I, O] : kSizes) {
    Twin dy = Twin::normal({N, O}, "dy"), w = Twin::normal({O, I}, "w"), set = Twin::poison({N, I});
    Twin added = Twin::normal({N, I}, "dx");
    on_both([&](Kernels& k, const View& of) {
      k.linear_backward_input(of(dy), of(w), of(set), Write::kSet);
      k.linear_backward_input(of(dy), of(w), of(added), Write::kAdd);
    });
    EXPECT_TRUE(within("linear: dx", set.error(), sum_tolerance(O))) << N << " x " << I << " x " << O;
    EXPECT_TRUE(within("linear: dx", added.error(), sum_tolerance(O + 1))) << N << " x " << I << " x " << O;
  }
}

TEST_P(CpuProduct, LinearBackwardWeight) {
  for (const auto& [N, I, O] : kSizes) {
    Twin dy = Twin::normal({N, O}, "dy"), x = Twin::normal({N, I}, "x"), set = Twin::poison({O, I});
    Twin added = Twin::normal({O, I}, "dw");
    on_both([&](Kernels& k, const View& of) {
      k.linear_backward_weight(of(dy), of(x), of(set), Write::kSet);
      k.linear_backward_weight(of(dy), of(x), of(added), Write::kAdd);
    });
    EXPECT_TRUE(within("linear: dw", set.error(), sum_tolerance(N))) << N << " x " << I << " x " << O;
    EXPECT_TRUE(within("linear: dw", added.error(), sum_tolerance(N + 1))) << N << " x " << I << " x " << O;
  }
}

// A rank that has some of the tokens computes the same bits for them as one rank that has all.
TEST_P(CpuProduct, ARowDoesNotDependOnTheOthers) {
  const int64_t I = 391, O = 210;
  for (const int64_t N : {1, 2, 4, 7, 11, 12, 13, 24, 61}) {
    Twin x = Twin::normal({64, I}, "x"), w = Twin::normal({O, I}, "w");
    std::vector<float> all(64 * O), some(static_cast<size_t>(N * O));
    cpu->linear_forward(x.fast(), w.fast(), tensor_of(all, {64, O}), Write::kSet);
    const int64_t first = 64 - N;
    cpu->linear_forward(x.fast().slice(first, 64), w.fast(), tensor_of(some, {N, O}), Write::kSet);
    EXPECT_EQ(some, std::vector<float>(all.begin() + first * O, all.end())) << N << " rows";
  }
}

std::vector<BFloat16> narrow_values(int64_t count, std::string_view name) {
  const std::vector<double> values = normal_values(count, name);
  std::vector<BFloat16> narrow;
  for (double value : values) narrow.push_back(BFloat16(static_cast<float>(value)));
  return narrow;
}
std::vector<float> widened(const std::vector<BFloat16>& narrow) {
  std::vector<float> wide;
  for (BFloat16 x : narrow) wide.push_back(static_cast<float>(x));
  return wide;
}

// The fp32 vector code on bf16 operands has the bits of the same product of the widened operands, rounded once.
TEST_P(CpuProduct, OfBf16IsRoundedOnce) {
  Kernels half(std::make_unique<CpuBackend>(DType::kBF16, MatrixUnit::kVectors));
  const auto expect_rounded = [](const std::vector<BFloat16>& got, const std::vector<float>& old, Write write,
                                 const std::vector<float>& sums) {
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_EQ(got[i].bits, BFloat16(write == Write::kAdd ? old[i] + sums[i] : sums[i]).bits) << i;
  };
  for (const auto& [N, I, O] :
       {Sizes{3, 0, 2}, {1, 300, 257}, {130, 31, 2}, {8, 770, 193}, {4, 391, 1601}, {1537, 391, 33}})
    for (const Write write : {Write::kSet, Write::kAdd}) {
      std::vector<BFloat16> x = narrow_values(N * I, "x"), w = narrow_values(O * I, "w"), y = narrow_values(N * O, "y");
      std::vector<float> wide_x = widened(x), wide_w = widened(w), sums(y.size()), old = widened(y);
      half.linear_forward(tensor_of(x, {N, I}), tensor_of(w, {O, I}), tensor_of(y, {N, O}), write);
      cpu->linear_forward(tensor_of(wide_x, {N, I}), tensor_of(wide_w, {O, I}), tensor_of(sums, {N, O}), Write::kSet);
      expect_rounded(y, old, write, sums);

      std::vector<BFloat16> dy = narrow_values(N * O, "dy"), dx = narrow_values(N * I, "dx");
      std::vector<float> wide_dy = widened(dy), old_dx = widened(dx), sums_dx(dx.size());
      half.linear_backward_input(tensor_of(dy, {N, O}), tensor_of(w, {O, I}), tensor_of(dx, {N, I}), write);
      cpu->linear_backward_input(tensor_of(wide_dy, {N, O}), tensor_of(wide_w, {O, I}), tensor_of(sums_dx, {N, I}),
                                 Write::kSet);
      expect_rounded(dx, old_dx, write, sums_dx);

      std::vector<float> dw = widened(narrow_values(O * I, "dw")), expected = dw;
      half.linear_backward_weight(tensor_of(dy, {N, O}), tensor_of(x, {N, I}), tensor_of(dw, {O, I}), write);
      cpu->linear_backward_weight(tensor_of(wide_dy, {N, O}), tensor_of(wide_x, {N, I}), tensor_of(expected, {O, I}),
                                  write);
      EXPECT_EQ(dw, expected);
    }
}

// Tokens repeat, and other ranks hold some of them. The sums are in fp32, in the same order as the reference's.
TEST_P(CpuProduct, Embedding) {
  for (const int64_t D : {1, 8, 19, 64}) {
    for (const int64_t N : {0, 1, 200}) {
      std::vector<int32_t> ids = integer_values(N, 0, 40, "tokens");
      const Tensor tokens = tensor_of(ids, {N});
      Twin table = Twin::normal({16, D}, "table"), x = Twin::poison({N, D});
      Twin dx = Twin::normal({N, D}, "dx"), dtable = Twin::normal({16, D}, "dtable");
      on_both([&](Kernels& k, const View& of) {
        k.embedding_forward(tokens, of(table), 10, of(x));
        k.embedding_backward(tokens, of(dx), 10, of(dtable));
      });
      EXPECT_EQ(x.error(), 0);
      EXPECT_TRUE(within("embedding: dtable", dtable.error(),
                         sum_tolerance(N / 40 * 4)));  // at most four times the mean number of uses
    }
  }
}

ROPEWALK_CPU_SUITE(CpuProduct);

}  // namespace
}  // namespace ropewalk

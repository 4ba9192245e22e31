// Products with weights.
#include "tests/kernels/mixed_precision/products.h"

#include <cmath>

#include "tests/kernels/values.h"

namespace ropewalk {
namespace {

class MixedProducts : public FormSuite {};

// Rows of whole 16-byte packs, and others: a vocabulary of 256 bytes and one more, and odd widths.
TEST_P(MixedProducts, OfSeveralSizes) {
  for (const auto& [N, I, O] : {std::array<int64_t, 3>{19, 24, 10}, {64, 64, 257}, {33, 7, 5}, {1, 257, 64}})
    check([N = N, I = I, O = O](Kernels& k, Operands& x) { multiply(N, I, O, k, x); }, kProductResults);
}

// As on ranks without tokens, or whose shard of the vocabulary has no rows.
TEST_P(MixedProducts, OverNothing) {
  check(
      [](Kernels& k, Operands& x) {
        const int64_t N = 3, I = 8;
        k.linear_backward_input(x.normal("dy", {N, 0}), x.normal("w", {0, I}), x.normal("kept", {N, I}), Write::kAdd);
        k.linear_backward_weight(x.normal("none dy", {0, 4}), x.normal("none x", {0, I}),
                                 x.normal("dw", {4, I}, Kind::kAccumulator), Write::kAdd);
      },
      {"kept", "dw"});
  Operands x(*tested);
  tested->linear_backward_input(x.normal("dy", {3, 0}), x.normal("w", {0, 8}), x.poison("dx", {3, 8}), Write::kSet);
  EXPECT_EQ(x.values("dx"), std::vector<double>(24));
  tested->linear_backward_weight(x.normal("none dy", {0, 4}), x.normal("none", {0, 8}),
                                 x.poison("dw", {4, 8}, Kind::kAccumulator), Write::kSet);
  EXPECT_EQ(x.values("dw"), std::vector<double>(32));
}

// It reaches the row of y and dx that it is in, and the row of dw.
TEST_P(MixedProducts, ANaNReachesTheOutput) {
  const int64_t N = 35, I = 40, O = 24, bad = 33;
  Operands x(*tested);
  const auto spoilt = [&](const std::string& name, int64_t width) {
    std::vector<double> values = normal_values(N * width, name);
    values[static_cast<size_t>(bad * width + width - 1)] = NAN;
    return x.given(name, {N, width}, values);
  };
  const Tensor in = spoilt("x", I), dy = spoilt("dy", O), w = x.normal("w", {O, I});
  tested->linear_forward(in, w, x.normal("y", {N, O}), Write::kSet);
  tested->linear_backward_input(dy, w, x.normal("dx", {N, I}), Write::kSet);
  tested->linear_backward_weight(dy, x.normal("sound x", {N, I}), x.normal("dw", {O, I}, Kind::kAccumulator),
                                 Write::kSet);
  for (const auto& [name, width, row] : {std::tuple{"y", O, bad}, {"dx", I, bad}, {"dw", I, O - 1}}) {
    const std::vector<double> values = x.values(name);
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(std::isnan(values[i]), static_cast<int64_t>(i) / width == row) << name << ", " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, MixedProducts, testing::ValuesIn(forms_under_test()), name_of_form);

}  // namespace
}  // namespace ropewalk

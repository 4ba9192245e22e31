// What the cpu backend in bf16 keeps beyond the rules of every backend in mixed precision.
#include <cmath>

#include "tests/kernels/mixed_precision/attention.h"
#include "tests/kernels/mixed_precision/products.h"

namespace ropewalk {
namespace {

class CpuMixedPrecision : public FormSuite {};

// Around the ends of vectors, strips, tiles and pairs, and with one large extent or several.
TEST_P(CpuMixedPrecision, ProductsOfEverySize) {
  const auto try_one = [&](int64_t N, int64_t I, int64_t O) {
    SCOPED_TRACE(fmt::format("N {}, I {}, O {}", N, I, O));
    check([&](Kernels& k, Operands& x) { multiply(N, I, O, k, x); }, kProductResults);
  };
  constexpr int64_t kSmall[] = {1, 2, 15, 16, 17, 31, 33, 48, 64}, kBeside[] = {1, 17, 33, 64};
  for (const int64_t N : kSmall)
    for (const int64_t I : kSmall)
      for (const int64_t O : kSmall) try_one(N, I, O);
  for (const int64_t large : {100, 129, 768})
    for (const int64_t one : kBeside)
      for (const int64_t other : kBeside)
        try_one(large, one, other), try_one(one, large, other), try_one(one, other, large);
  for (const auto& [N, I, O] :
       {std::array<int64_t, 3>{129, 100, 768}, {100, 768, 129}, {768, 129, 100}, {33, 768, 768}})
    try_one(N, I, O);
  // An inner dimension of more than one block, with several strips and blocks of columns.
  for (const auto& [N, I, O] : {std::array<int64_t, 3>{70, 1100, 1000}, {70, 1000, 1100}, {1100, 33, 70}})
    try_one(N, I, O);
}

// A rank that has some of the tokens computes the same bits for them as one rank that has all.
TEST_P(CpuMixedPrecision, ARowOfAProductDoesNotDependOnTheOthers) {
  const int64_t all = 150;
  for (const auto& [I, O] : {std::pair<int64_t, int64_t>{391, 210}, {33, 1}, {64, 768}, {768, 64}, {17, 31}}) {
    Operands x(*tested);
    const Tensor in = x.normal("x", {all, I}), w = x.normal("w", {O, I}), dy = x.normal("dy", {all, O});
    tested->linear_forward(in, w, x.poison("y", {all, O}), Write::kSet);
    tested->linear_backward_input(dy, w, x.poison("dx", {all, I}), Write::kSet);
    const std::vector<double> y = x.values("y"), dx = x.values("dx");
    for (const int64_t N : {1, 2, 5, 12, 15, 16, 17, 31, 32, 33, 48, 95, 96, 97, 129}) {
      const int64_t first = all - N;
      tested->linear_forward(in.slice(first, all), w, x.poison("some y", {N, O}), Write::kSet);
      tested->linear_backward_input(dy.slice(first, all), w, x.poison("some dx", {N, I}), Write::kSet);
      EXPECT_EQ(x.values("some y"), std::vector<double>(y.begin() + first * O, y.end())) << N << " rows of " << I;
      EXPECT_EQ(x.values("some dx"), std::vector<double>(dx.begin() + first * I, dx.end())) << N << " rows of " << I;
    }
  }
}

// Keys and values before and after all that a query sees are NaN: they must not be read.
TEST_P(CpuMixedPrecision, AttentionDoesNotReadWhatNoQuerySees) {
  const int64_t T = 61, U = 230, H = 4, G = 2;
  for (const int64_t K : {20, 64}) {
    Operands x(*tested);
    AttentionSpan span;
    span.queries = 100, span.window = 40;  // sees the keys from 61 to 160
    const auto keys = [&](const std::string& name) {
      const Tensor given = x.normal(name, {U, G, K});
      tested->fill(given.slice(0, 61), NAN), tested->fill(given.slice(161, U), NAN);
      return given;
    };
    const Tensor q = x.normal("q", {T, H, K}), d_o = x.normal("do", {T, H, K}), k = keys("k"), v = keys("v");
    const Tensor o = x.filled("o", q.shape(), NAN), lse = x.filled("lse", {T, H}, -INFINITY);
    const Tensor delta = x.filled("delta", {T, H});
    tested->attention_forward(q, k, v, span, o, lse);
    tested->attention_delta(d_o, x.rounded("o"), delta);
    tested->attention_backward(q, k, v, d_o, lse, delta, span, x.filled("dq", q.shape()), x.filled("dk", k.shape()),
                               x.filled("dv", k.shape()));
    for (const char* name : {"o", "lse", "delta", "dq", "dk", "dv"})
      for (const double value : x.values(name)) ASSERT_TRUE(std::isfinite(value)) << name << ", K " << K;
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, CpuMixedPrecision, testing::ValuesIn(forms_under_test()), name_of_form);

}  // namespace
}  // namespace ropewalk

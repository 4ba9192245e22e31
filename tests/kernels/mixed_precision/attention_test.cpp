// Attention with every kind of mask, at once and in pieces of keys, as context parallelism (ring, halo) produces.
#include "tests/kernels/mixed_precision/attention.h"

#include <algorithm>
#include <cmath>

#include "tests/kernels/values.h"

namespace ropewalk {
namespace {

class MixedAttentionCase : public CaseSuite<AttentionCase> {};

TEST_P(MixedAttentionCase, ForwardAndBackward) {
  check([&](Kernels& kernels, Operands& x) { attend(given(), kernels, x); }, results_of(given()));
}

INSTANTIATE_TEST_SUITE_P(Cases, MixedAttentionCase,
                         testing::Combine(testing::ValuesIn(attention_forms_under_test()),
                                          testing::ValuesIn(attention_cases())),
                         name_of_attention_case);

class MixedAttention : public FormSuite {};

// The mean absolute error, relative to the largest entry.
double mean_error(const std::vector<double>& actual, const std::vector<double>& exact) {
  double sum = 0, largest = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    sum += std::abs(actual[i] - exact[i]);
    largest = std::max(largest, std::abs(exact[i]));
  }
  return sum / static_cast<double>(exact.size()) / largest;
}

// Pieces are merged, and gradients are added, in fp32. The design bounds the error with 8 ranks relative to that with
// one. In bf16 the rounding of merges would be about as large as that of P, and would show with more ranks. The second
// term of the bound is the fp32 rounding of each merge.
TEST_P(MixedAttention, OverARingErrsHardlyMoreThanAtOnce) {
  const Tensors exact = causal_attention(*make_kernels(BackendKind::kReferenceF64), 1);
  const Tensors at_once = causal_attention(*tested, 1);
  for (const int64_t ranks : {8, 64}) {
    const Tensors ring = causal_attention(*tested, ranks);
    for (const auto& [name, values] : exact)
      EXPECT_LE(mean_error(ring.at(name), values),
                1.3 * mean_error(at_once.at(name), values) + static_cast<double>(ranks) * 0x1p-24)
          << name << ", " << ranks;
  }
}

// No queries or no keys, as on ranks that own no part of a sequence.
TEST_P(MixedAttention, WithoutRowsLeavesResultsAsTheyAre) {
  const int64_t T = 96, H = 2, G = 1, K = 64;
  Operands x(*tested);
  const Tensor q = x.normal("q", {T, H, K}), d_o = x.normal("do", {T, H, K});
  const Tensor k = x.normal("k", {T, G, K}), v = x.normal("v", {T, G, K}), narrow = x.normal("narrow", q.shape());
  std::map<std::string, Tensor> results;
  for (const char* name : {"o", "dq"}) results[name] = x.normal(name, q.shape(), Kind::kAccumulator);
  for (const char* name : {"lse", "delta"}) results[name] = x.normal(name, {T, H}, Kind::kAccumulator);
  for (const char* name : {"dk", "dv"}) results[name] = x.normal(name, k.shape(), Kind::kAccumulator);
  Tensors before;
  for (const auto& [name, tensor] : results) before[name] = x.values(name);
  for (const auto& [queries, keys] : {std::pair{int64_t{0}, T}, {T, int64_t{0}}, {int64_t{0}, int64_t{0}}}) {
    const auto of_queries = [n = queries](const Tensor& tensor) { return tensor.slice(0, n); };
    const auto of_keys = [n = keys](const Tensor& tensor) { return tensor.slice(0, n); };
    tested->attention_forward(of_queries(q), of_keys(k), of_keys(v), {}, of_queries(results["o"]),
                              of_queries(results["lse"]));
    if (queries == 0) tested->attention_delta(of_queries(d_o), of_queries(narrow), of_queries(results["delta"]));
    tested->attention_backward(of_queries(q), of_keys(k), of_keys(v), of_queries(d_o), of_queries(results["lse"]),
                               of_queries(results["delta"]), {}, of_queries(results["dq"]), of_keys(results["dk"]),
                               of_keys(results["dv"]));
    for (const auto& [name, values] : before)
      EXPECT_TRUE(x.values(name) == values) << name << ", " << queries << " queries, " << keys << " keys";
  }
  EXPECT_TRUE(causal_attention(*tested, 1, T) == causal_attention(*make_under_test(form()), 1, T));
}

// A NaN in a query reaches its row, and one in a key or value every row that sees it.
TEST_P(MixedAttention, ANaNReachesTheOutput) {
  const int64_t T = 100, H = 2, G = 1, K = 64, bad = 37;
  for (const std::string spoilt : {"q", "k", "v"}) {
    Operands x(*tested);
    const auto operand = [&](const std::string& name, int64_t heads) {
      std::vector<double> values = normal_values(T * heads * K, name);
      if (name == spoilt) values[static_cast<size_t>((bad * heads + heads - 1) * K + K - 1)] = NAN;
      return x.given(name, {T, heads, K}, values);
    };
    const Tensor q = operand("q", H), k = operand("k", G), v = operand("v", G);
    const Tensor o = x.filled("o", q.shape()), lse = x.filled("lse", {T, H}, -INFINITY);
    tested->attention_forward(q, k, v, {}, o, lse);
    const std::vector<double> outputs = x.values("o"), sums = x.values("lse");
    for (int64_t t = bad; t < T; ++t) {
      const size_t row = static_cast<size_t>(t * H + H - 1), end = (row + 1) * static_cast<size_t>(K);
      if (spoilt == "q" && t > bad) continue;
      EXPECT_TRUE(std::isnan(outputs[end - 1])) << spoilt << ", row " << t;
      EXPECT_TRUE(std::isnan(sums[row]) || spoilt == "v") << spoilt << ", row " << t;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, MixedAttention, testing::ValuesIn(attention_forms_under_test()), name_of_form);

}  // namespace
}  // namespace ropewalk

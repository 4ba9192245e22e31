// What only cuda's attention has: sums in any order, and tiles that are skipped.
#include "tests/kernels/mixed_precision/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/range.h"
#include "tests/kernels/cuda/forms.h"
#include "tests/kernels/mixed_precision/documents.h"
#include "tests/kernels/values.h"
#include "tests/support/cuda/under_test.h"

namespace ropewalk {
namespace {

std::unique_ptr<Kernels> make_in_any_order(const std::string& form) {
  BackendOptions options = options_of(form);
  options.deterministic = false;
  return make_cuda_under_test(options);
}

class CudaAttentionCase : public CaseSuite<AttentionCase> {};

TEST_P(CudaAttentionCase, ForwardAndBackwardInAnyOrder) {
  tested = make_in_any_order(form());
  EXPECT_FALSE(tested->deterministic());
  check([&](Kernels& kernels, Operands& x) { attend(given(), kernels, x); }, results_of(given()));
}

INSTANTIATE_TEST_SUITE_P(Cases, CudaAttentionCase,
                         testing::Combine(testing::ValuesIn(attention_forms_under_test()),
                                          testing::ValuesIn(attention_cases())),
                         name_of_attention_case);

class CudaAttention : public FormSuite {};

// Without determinism only dq is summed in another order; with it, nothing is.
TEST_P(CudaAttention, AddsInAnyOrderOnlyWhereAsked) {
  const int64_t T = 640;  // some rows see so many tiles that the order of additions shows
  const Tensors in_order = causal_attention(*tested, 1, T);
  const Tensors in_any = causal_attention(*make_in_any_order(form()), 1, T);
  for (const auto& [name, values] : in_order) {
    const bool same = in_any.at(name) == values;
    EXPECT_TRUE(same || name == "dq") << name;
    EXPECT_FALSE(same && name == "dq" && is_emulated()) << "a device's blocks may happen to add in order";
  }
}

// Each backend has its own order, workspace and counter of row blocks.
TEST_P(CudaAttention, BackendsInTurnsDoAsEachAlone) {
  const auto other = make_in_any_order(form());
  std::map<int64_t, Tensors> alone;
  for (const int64_t T : {96, 320}) alone[T] = causal_attention(*make_under_test(form()), 1, T);
  for (const int64_t T : {320, 96, 320}) {
    EXPECT_TRUE(causal_attention(*tested, 1, T) == alone[T]) << T;
    const int64_t other_T = 416 - T;
    for (const auto& [name, values] : causal_attention(*other, 1, other_T))
      EXPECT_TRUE(name == "dq" || values == alone[other_T].at(name)) << name << ", " << other_T;
  }
}

struct Hidden {
  std::optional<int64_t> window;
  std::vector<int32_t> documents;
  Range poisoned;                // rows of q, k, v and do that are NaN
  std::vector<Range> untouched;  // whole tiles of rows that neither see poisoned rows nor are seen by them
};

struct HiddenTiles {
  int64_t K;
  std::vector<Hidden> cases;
};
// In the Hopper form tiles have 128 keys, and the forward's first tile begins with the first key that its rows see.
HiddenTiles hidden_from(const std::string& form) {
  if (form == name_of(AttentionForm::kPortable))
    return {64,
            {{{}, {0, 128, 256}, {128, 256}, {{0, 128}, {256, 384}}},
             {{}, {0, 320}, {64, 320}, {{320, 384}}},
             {64, {}, {192, 256}, {{0, 128}, {320, 384}}},
             {200, {0, 128, 256}, {128, 256}, {{0, 128}, {256, 384}}}}};
  return {128,
          {{{}, {0, 128, 256}, {128, 256}, {{0, 128}, {256, 384}}},
           {{}, {0, 256}, {64, 256}, {{256, 384}}},
           {64, {}, {256, 384}, {{0, 128}, {512, 640}}},
           {200, {0, 128, 256}, {128, 256}, {{0, 128}, {256, 384}}}}};
}

// Tiles that the mask hides completely are skipped: they are not even read.
TEST_P(CudaAttention, ReadsNoTileThatIsHidden) {
  const int64_t H = 2, G = 1;
  const auto& [K, cases] = hidden_from(form());
  for (const Hidden& hidden : cases) {
    const int64_t T = hidden.untouched.back().end;
    const auto run = [&, K = K](Kernels& kernels, bool poisoned) {
      Operands x(kernels);
      const auto operand = [&](const std::string& name, int64_t heads) {
        std::vector<double> values = normal_values(T * heads * K, name);
        if (poisoned)
          std::fill(values.begin() + hidden.poisoned.begin * heads * K,
                    values.begin() + hidden.poisoned.end * heads * K, NAN);
        return x.given(name, {T, heads, K}, values);
      };
      const Tensor q = operand("q", H), k = operand("k", G), v = operand("v", G), d_o = operand("do", H);
      const Tensor o = x.filled("o", q.shape()), lse = x.filled("lse", {T, H}, -INFINITY),
                   delta = x.filled("delta", {T, H});
      AttentionSpan span;
      span.window = hidden.window;
      if (!hidden.documents.empty()) span.document_begin = x.integers({T}, document_of_queries(hidden.documents, 0, T));
      kernels.attention_forward(q, k, v, span, o, lse);
      kernels.attention_delta(d_o, x.rounded("o"), delta);
      kernels.attention_backward(q, k, v, d_o, lse, delta, span, x.filled("dq", q.shape()), x.filled("dk", k.shape()),
                                 x.filled("dv", v.shape()));
      std::vector<double> untouched;
      for (const auto& [name, heads] : {std::pair{"o", H}, {"dq", H}, {"dk", G}, {"dv", G}}) {
        const std::vector<double> all = x.values(name);
        for (const Range& rows : hidden.untouched)
          untouched.insert(untouched.end(), all.begin() + rows.begin * heads * K, all.begin() + rows.end * heads * K);
      }
      return untouched;
    };
    const auto finite = [](double value) { return std::isfinite(value); };
    const std::vector<double> clean = run(*tested, false);
    EXPECT_TRUE(std::ranges::all_of(clean, finite));
    EXPECT_TRUE(run(*tested, true) == clean) << "from " << hidden.poisoned.begin << " to " << hidden.poisoned.end;
    EXPECT_TRUE(std::ranges::all_of(run(*make_in_any_order(form()), true), finite)) << "in any order";
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, CudaAttention, testing::ValuesIn(attention_forms_under_test()), name_of_form);

}  // namespace
}  // namespace ropewalk

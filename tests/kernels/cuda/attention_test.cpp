// Attention on cuda with every kind of mask, at once and in pieces of keys, as context parallelism (ring, halo)
// produces.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "kernels/make_kernels.h"
#include "kernels/range.h"
#include "tests/kernels/cuda/documents.h"
#include "tests/kernels/cuda/suite.h"
#include "tests/kernels/values.h"

namespace ropewalk {
namespace {

struct Piece {
  Positions keys;
  int64_t rows;
};

struct Case {
  const char* name;
  int64_t H, G, K;
  Positions queries;
  int64_t T;
  std::vector<Piece> pieces;
  std::optional<int64_t> window;
  std::vector<int32_t> documents;  // positions where they begin; empty: a single document
  double before = 0.1;             // scale of the gradients to which those of this call are added
  double q_scale = 1;              // if large, some scores dominate, in later tiles too
};

BackendOptions in_any_order(BackendOptions options) {
  options.deterministic = false;
  return options;
}

class CudaAttention : public CudaSuite, public testing::WithParamInterface<std::tuple<AttentionForm, Case>> {
 protected:
  BackendOptions options() const override { return {.attention = std::get<AttentionForm>(GetParam())}; }
  void check_forward_and_backward();
};

void CudaAttention::check_forward_and_backward() {
  const Case& c = std::get<Case>(GetParam());
  std::vector<std::string> results = {"o", "lse", "delta", "dq"};
  for (size_t i = 0; i < c.pieces.size(); ++i) {
    results.push_back("dk" + std::to_string(i));
    results.push_back("dv" + std::to_string(i));
  }
  check(
      [&](Kernels& kernels, Operands& x) {
        const Shape queries{c.T, c.H, c.K};
        const Tensor q = x.normal("q", queries, Kind::kCompute, c.q_scale), d_o = x.normal("do", queries);
        const Tensor o = x.filled("o", queries, NAN), lse = x.filled("lse", {c.T, c.H}, -INFINITY);
        AttentionSpan span;
        span.queries = c.queries;
        span.window = c.window;
        if (!c.documents.empty())
          span.document_begin = x.integers({c.T}, document_of_queries(c.documents, c.queries, c.T));
        std::vector<Tensor> keys, values;
        for (size_t i = 0; i < c.pieces.size(); ++i) {
          const Shape shape{c.pieces[i].rows, c.G, c.K};
          keys.push_back(x.normal("k" + std::to_string(i), shape));
          values.push_back(x.normal("v" + std::to_string(i), shape));
          span.keys = c.pieces[i].keys;
          kernels.attention_forward(q, keys[i], values[i], span, o, lse);
        }
        const Tensor delta = x.poison("delta", {c.T, c.H}, Kind::kAccumulator);
        kernels.attention_delta(d_o, x.rounded("o"), delta);
        const Tensor dq = x.normal("dq", queries, Kind::kAccumulator, c.before);
        for (size_t i = 0; i < c.pieces.size(); ++i) {
          span.keys = c.pieces[i].keys;
          kernels.attention_backward(q, keys[i], values[i], d_o, lse, delta, span, dq,
                                     x.normal("dk" + std::to_string(i), keys[i].shape(), Kind::kAccumulator, c.before),
                                     x.normal("dv" + std::to_string(i), keys[i].shape(), Kind::kAccumulator, c.before));
        }
      },
      results);
}
TEST_P(CudaAttention, ForwardAndBackward) { check_forward_and_backward(); }
TEST_P(CudaAttention, ForwardAndBackwardInAnyOrder) {
  cuda = make_cuda_under_test(in_any_order(options()));
  EXPECT_FALSE(cuda->deterministic());
  check_forward_and_backward();
}

class CudaAttentionForm : public CudaSuite, public testing::WithParamInterface<AttentionForm> {
 protected:
  BackendOptions options() const override { return {.attention = GetParam()}; }
};

using Tensors = std::map<std::string, std::vector<double>>;
// The mean absolute error, relative to the largest entry.
double mean_error(const std::vector<double>& actual, const std::vector<double>& exact) {
  double sum = 0, largest = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    sum += std::abs(actual[i] - exact[i]);
    largest = std::max(largest, std::abs(exact[i]));
  }
  return sum / static_cast<double>(exact.size()) / largest;
}

// Attention over keys in `pieces` equal pieces, the last one first, as in a ring.
Tensors causal_attention(Kernels& kernels, int64_t pieces, int64_t T = 256) {
  const int64_t H = 2, G = 1, K = 64, rows = T / pieces;
  Operands x(kernels);
  const Tensor q = x.normal("q", {T, H, K}), d_o = x.normal("do", {T, H, K});
  const Tensor k = x.normal("k", {T, G, K}), v = x.normal("v", {T, G, K});
  const Tensor o = x.filled("o", q.shape()), lse = x.filled("lse", {T, H}, -INFINITY),
               delta = x.filled("delta", {T, H});
  const Tensor dq = x.filled("dq", q.shape()), dk = x.filled("dk", k.shape()), dv = x.filled("dv", v.shape());
  AttentionSpan span;
  const auto each_piece = [&](const std::function<void(int64_t, int64_t)>& visit) {
    for (span.keys = T - rows; span.keys.begin >= 0; span.keys.begin -= rows)
      visit(span.keys.begin, span.keys.begin + rows);
  };
  each_piece(
      [&](int64_t u, int64_t end) { kernels.attention_forward(q, k.slice(u, end), v.slice(u, end), span, o, lse); });
  kernels.attention_delta(d_o, x.rounded("o"), delta);
  each_piece([&](int64_t u, int64_t end) {
    kernels.attention_backward(q, k.slice(u, end), v.slice(u, end), d_o, lse, delta, span, dq, dk.slice(u, end),
                               dv.slice(u, end));
  });
  Tensors results;
  for (const char* name : {"o", "lse", "dq", "dk", "dv"}) results[name] = x.values(name);
  return results;
}

// Pieces are merged, and gradients are added, in fp32. The design bounds the error with 8 ranks relative to that with
// one. In bf16 the rounding of merges would be about as large as that of P, and would show with more ranks. The second
// term of the bound is the fp32 rounding of each merge.
TEST_P(CudaAttentionForm, OverARingErrsHardlyMoreThanAtOnce) {
  const Tensors exact = causal_attention(*make_kernels(BackendKind::kReferenceF64), 1);
  const Tensors at_once = causal_attention(*cuda, 1);
  for (const int64_t ranks : {8, 64}) {
    const Tensors ring = causal_attention(*cuda, ranks);
    for (const auto& [name, values] : exact)
      EXPECT_LE(mean_error(ring.at(name), values),
                1.3 * mean_error(at_once.at(name), values) + static_cast<double>(ranks) * 0x1p-24)
          << name << ", " << ranks;
  }
}

// Without determinism only dq is summed in another order; with it, nothing is.
TEST_P(CudaAttentionForm, AddsInAnyOrderOnlyWhereAsked) {
  const int64_t T = 640;  // some rows see so many tiles that the order of additions shows
  const Tensors in_order = causal_attention(*cuda, 1, T);
  const Tensors in_any = causal_attention(*make_cuda_under_test(in_any_order(options())), 1, T);
  for (const auto& [name, values] : in_order) {
    const bool same = in_any.at(name) == values;
    EXPECT_TRUE(same || name == "dq") << name;
    EXPECT_FALSE(same && name == "dq" && is_emulated()) << "a device's blocks may happen to add in order";
  }
}

// Each backend has its own order, workspace and counter of row blocks.
TEST_P(CudaAttentionForm, BackendsInTurnsDoAsEachAlone) {
  const auto other = make_cuda_under_test(in_any_order(options()));
  std::map<int64_t, Tensors> alone;
  for (const int64_t T : {96, 320}) alone[T] = causal_attention(*make_cuda_under_test(options()), 1, T);
  for (const int64_t T : {320, 96, 320}) {
    EXPECT_TRUE(causal_attention(*cuda, 1, T) == alone[T]) << T;
    const int64_t other_T = 416 - T;
    for (const auto& [name, values] : causal_attention(*other, 1, other_T))
      EXPECT_TRUE(name == "dq" || values == alone[other_T].at(name)) << name << ", " << other_T;
  }
}

// No queries or no keys, as on ranks that own no part of a sequence.
TEST_P(CudaAttentionForm, WithoutRowsLeavesResultsAsTheyAre) {
  const int64_t T = 96, H = 2, G = 1, K = 64;
  Operands x(*cuda);
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
    cuda->attention_forward(of_queries(q), of_keys(k), of_keys(v), {}, of_queries(results["o"]),
                            of_queries(results["lse"]));
    if (queries == 0) cuda->attention_delta(of_queries(d_o), of_queries(narrow), of_queries(results["delta"]));
    cuda->attention_backward(of_queries(q), of_keys(k), of_keys(v), of_queries(d_o), of_queries(results["lse"]),
                             of_queries(results["delta"]), {}, of_queries(results["dq"]), of_keys(results["dk"]),
                             of_keys(results["dv"]));
    for (const auto& [name, values] : before)
      EXPECT_TRUE(x.values(name) == values) << name << ", " << queries << " queries, " << keys << " keys";
  }
  EXPECT_TRUE(causal_attention(*cuda, 1, T) == causal_attention(*make_cuda_under_test(options()), 1, T));
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
HiddenTiles hidden_from(AttentionForm form) {
  if (form == AttentionForm::kPortable)
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
TEST_P(CudaAttentionForm, ReadsNoTileThatIsHidden) {
  const int64_t H = 2, G = 1;
  const auto& [K, cases] = hidden_from(GetParam());
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
    const std::vector<double> clean = run(*cuda, false);
    EXPECT_TRUE(std::ranges::all_of(clean, finite));
    EXPECT_TRUE(run(*cuda, true) == clean) << "from " << hidden.poisoned.begin << " to " << hidden.poisoned.end;
    EXPECT_TRUE(std::ranges::all_of(run(*make_cuda_under_test(in_any_order(options())), true), finite))
        << "in any order";
  }
}

std::string name_of_case(const testing::TestParamInfo<std::tuple<AttentionForm, Case>>& test) {
  const auto& [form, given] = test.param;
  return name_of(form) + std::string("_") + given.name;
}

constexpr auto kForms = {AttentionForm::kPortable, AttentionForm::kHopper};

INSTANTIATE_TEST_SUITE_P(Forms, CudaAttentionForm, testing::ValuesIn(kForms),
                         [](const auto& test) { return name_of(test.param); });
INSTANTIATE_TEST_SUITE_P(
    Cases, CudaAttention,
    testing::Combine(
        testing::ValuesIn(kForms),
        testing::Values(Case{"Causal", 2, 2, 64, 0, 70, {{0, 70}}, {}, {}},
                        Case{"HeadSize128", 2, 1, 128, 0, 70, {{0, 70}}, {}, {}},
                        Case{"ThreeHeadsToOne", 6, 2, 64, 0, 130, {{0, 130}}, {}, {}},
                        Case{"EightHeadsToOne", 8, 1, 64, 0, 33, {{0, 33}}, {}, {}},
                        Case{"OneToken", 2, 1, 64, 0, 1, {{0, 1}}, {}, {}},
                        Case{"WholeTiles", 1, 1, 64, 0, 192, {{0, 192}}, {}, {}},
                        Case{"Window", 2, 1, 64, 0, 200, {{0, 200}}, 17, {}},
                        Case{"WideWindow", 2, 1, 64, 0, 260, {{0, 260}}, 130, {}},
                        // Its exact dq and dk are 0: only the rounding error of do v^T - delta is left.
                        Case{"WindowOfOne", 1, 1, 64, 0, 70, {{0, 70}}, 1, {}, 1.0},
                        Case{"WindowOfTiles", 4, 1, 64, 0, 150, {{0, 150}}, 64, {}},
                        Case{"Documents", 2, 2, 64, 0, 150, {{0, 150}}, {}, {0, 3, 4, 63, 127, 149}},
                        Case{"DocumentsAndWindow", 2, 1, 64, 0, 150, {{0, 150}}, 30, {0, 50, 64}},
                        Case{"RingOfThree", 2, 1, 64, 100, 60, {{40, 60}, {100, 60}, {0, 40}}, {}, {}},
                        Case{"HaloAndChunk", 3, 1, 64, 130, 70, {{130, 70}, {99, 31}}, 32, {}},
                        // The visits of a rank of four with chunks 1 and 6, in the order of its ring.
                        Case{"RingOfTwoChunks",
                             4,
                             2,
                             64,
                             Positions(70, 70, 280),
                             140,
                             {{Positions(70, 70, 280), 140}, {Positions(0), 70}, {Positions(140, 70, 70), 140}},
                             {},
                             {}},
                        Case{"WideHeadsRingOfTwoChunks",
                             3,
                             1,
                             128,
                             Positions(70, 70, 280),
                             140,
                             {{Positions(210, 0, 0), 140}, {Positions(70, 70, 280), 140}},
                             {},
                             {0, 20, 75, 300, 430}},
                        // Key tiles in the gap of a row tile, which its rows do not see.
                        Case{"WindowBeforeAndAfterAGap", 1, 1, 64, Positions(50, 30, 500), 64, {{0, 600}}, 100, {}},
                        Case{"WindowOverTwoChunks",
                             2,
                             1,
                             64,
                             Positions(100, 90, 60),
                             150,
                             {{Positions(100, 90, 60), 150}},
                             100,
                             {0, 110, 240}},
                        Case{"KeysFarBehind", 1, 1, 64, 300, 64, {{300, 64}, {270, 10}}, 50, {}},
                        Case{"FiveHeadsToOne", 5, 1, 64, 0, 41, {{0, 41}}, 12, {0, 20}},
                        Case{"TwelveHeadsToOne", 12, 1, 64, 0, 37, {{0, 37}}, {}, {}},
                        Case{"ThirtyTwoHeadsToOne", 32, 1, 64, 0, 19, {{0, 19}}, {}, {}},
                        Case{"WideHeadsWindowAndDocuments", 3, 1, 128, 0, 150, {{0, 150}}, 70, {0, 63, 100}},
                        Case{"WideHeadsRing", 4, 2, 128, 100, 60, {{40, 60}, {100, 60}, {0, 40}}, {}, {}},
                        Case{"WideHeadsHalo", 2, 1, 128, 130, 70, {{130, 70}, {99, 31}}, 32, {}},
                        // So many key tiles that their stages in shared memory are reused many times.
                        Case{"LongPast", 4, 1, 64, 1500, 50, {{0, 1550}}, {}, {}},
                        Case{"WideHeadsLongPast", 2, 1, 128, 1000, 70, {{0, 1070}}, {}, {}},
                        Case{"ThreeKeyHeads", 6, 3, 64, 0, 150, {{0, 150}}, {}, {}},
                        Case{"FiveWideKeyHeads", 5, 5, 128, 0, 140, {{0, 140}}, 40, {}},
                        Case{"ThirtyTwoWideHeadsToOne", 32, 1, 128, 0, 19, {{0, 19}}, 6, {0, 9}},
                        Case{"LargeScores", 2, 1, 64, 200, 200, {{0, 400}}, {}, {}, 0.1, 8},
                        Case{"WideHeadsLargeScores", 2, 1, 128, 200, 200, {{0, 400}}, {}, {}, 0.1, 8},
                        Case{"PieceThatNobodySees", 1, 1, 64, 0, 40, {{0, 40}, {40, 40}, {80, 8}}, {}, {}})),
    name_of_case);

// So many tiles that all stages are reused.
INSTANTIATE_TEST_SUITE_P(
    ManyTiles, CudaAttention,
    testing::Combine(testing::Values(AttentionForm::kHopper),
                     testing::Values(Case{"Causal", 1, 1, 64, 0, 700, {{0, 700}}, {}, {}},
                                     Case{"WideHeads", 2, 1, 128, 0, 520, {{0, 520}}, {}, {}},
                                     Case{"WideHeadsWindow", 2, 1, 128, 0, 700, {{0, 700}}, 400, {}})),
    name_of_case);

}  // namespace
}  // namespace ropewalk

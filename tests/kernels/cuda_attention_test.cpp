// Attention on cuda over every kind of mask, whole and in pieces as rings and halos cut it.
#include <algorithm>
#include <cmath>

#include "kernels/range.h"
#include "tests/kernels/cuda_suite.h"
#include "tests/kernels/values.h"

namespace ropewalk {
namespace {

struct Piece {
  int64_t begin, rows;  // of keys, in their sequence
};

struct Case {
  const char* name;
  int64_t H, G, K;
  int64_t q_begin, T;
  std::vector<Piece> pieces;
  std::optional<int64_t> window;
  std::vector<int32_t> documents;  // where they begin; none: one
};

class CudaAttention : public CudaSuite, public testing::WithParamInterface<Case> {};

std::vector<int32_t> document_of_rows(int64_t q_begin, int64_t T, const std::vector<int32_t>& documents) {
  std::vector<int32_t> begins;
  for (int64_t t = 0; t < T; ++t) {
    int32_t begin = 0;
    for (int32_t document : documents)
      if (document <= q_begin + t) begin = document;
    begins.push_back(begin);
  }
  return begins;
}

TEST_P(CudaAttention, ForwardAndBackward) {
  const Case& c = GetParam();
  std::vector<std::string> results = {"o", "lse", "delta", "dq"};
  for (size_t i = 0; i < c.pieces.size(); ++i) {
    results.push_back("dk" + std::to_string(i));
    results.push_back("dv" + std::to_string(i));
  }
  check(
      [&](Kernels& kernels, Operands& x) {
        const Shape queries{c.T, c.H, c.K};
        const Tensor q = x.normal("q", queries), d_o = x.normal("do", queries);
        const Tensor o =
            x.given("o", queries, std::vector<double>(static_cast<size_t>(queries.elements())), Kind::kAccumulator);
        const Tensor lse = x.given("lse", {c.T, c.H}, std::vector<double>(static_cast<size_t>(c.T * c.H), -INFINITY),
                                   Kind::kAccumulator);
        AttentionSpan span;
        span.q_begin = c.q_begin;
        span.window = c.window;
        if (!c.documents.empty())
          span.document_begin = x.integers({c.T}, document_of_rows(c.q_begin, c.T, c.documents));
        std::vector<Tensor> keys, values;
        for (size_t i = 0; i < c.pieces.size(); ++i) {
          const Shape shape{c.pieces[i].rows, c.G, c.K};
          keys.push_back(x.normal("k" + std::to_string(i), shape));
          values.push_back(x.normal("v" + std::to_string(i), shape));
          span.k_begin = c.pieces[i].begin;
          kernels.attention_forward(q, keys[i], values[i], span, o, lse);
        }
        const Tensor delta = x.poison("delta", {c.T, c.H}, Kind::kAccumulator);
        kernels.attention_delta(d_o, o, delta);
        const Tensor dq = x.normal("dq", queries, Kind::kAccumulator, 0.1);
        for (size_t i = 0; i < c.pieces.size(); ++i) {
          span.k_begin = c.pieces[i].begin;
          kernels.attention_backward(q, keys[i], values[i], d_o, lse, delta, span, dq,
                                     x.normal("dk" + std::to_string(i), keys[i].shape(), Kind::kAccumulator, 0.1),
                                     x.normal("dv" + std::to_string(i), keys[i].shape(), Kind::kAccumulator, 0.1));
        }
      },
      results);
}

struct Hidden {
  std::optional<int64_t> window;
  std::vector<int32_t> documents;
  Range poisoned;                // rows of q, k, v, do
  std::vector<Range> untouched;  // rows that neither see those nor are seen by them, by whole tiles
};

// Work is left out where a mask hides all of a tile: what is there is not even read.
TEST_F(CudaSuite, AttentionReadsNoTileThatIsHidden) {
  const int64_t T = 384, H = 2, G = 1, K = 64;
  for (const Hidden& hidden :
       {Hidden{{}, {0, 128, 256}, {128, 256}, {{0, 128}, {256, T}}}, Hidden{{}, {0, 320}, {64, 320}, {{320, T}}},
        Hidden{64, {}, {192, 256}, {{0, 128}, {320, T}}},
        Hidden{200, {0, 128, 256}, {128, 256}, {{0, 128}, {256, T}}}}) {
    const auto run = [&](bool poisoned) {
      Operands x(*cuda);
      const auto operand = [&](const std::string& name, int64_t heads) {
        std::vector<double> values = normal_values(T * heads * K, name);
        if (poisoned)
          std::fill(values.begin() + hidden.poisoned.begin * heads * K,
                    values.begin() + hidden.poisoned.end * heads * K, NAN);
        return x.given(name, {T, heads, K}, values);
      };
      const auto filled = [&](const std::string& name, const Shape& shape, double value = 0) {
        return x.given(name, shape, std::vector<double>(static_cast<size_t>(shape.elements()), value),
                       Kind::kAccumulator);
      };
      const Tensor q = operand("q", H), k = operand("k", G), v = operand("v", G), d_o = operand("do", H);
      const Tensor o = filled("o", q.shape()), lse = filled("lse", {T, H}, -INFINITY), delta = filled("delta", {T, H});
      AttentionSpan span;
      span.window = hidden.window;
      if (!hidden.documents.empty()) span.document_begin = x.integers({T}, document_of_rows(0, T, hidden.documents));
      cuda->attention_forward(q, k, v, span, o, lse);
      cuda->attention_delta(d_o, o, delta);
      cuda->attention_backward(q, k, v, d_o, lse, delta, span, filled("dq", q.shape()), filled("dk", k.shape()),
                               filled("dv", v.shape()));
      std::vector<double> untouched;
      for (const auto& [name, heads] : {std::pair{"o", H}, {"dq", H}, {"dk", G}, {"dv", G}}) {
        const std::vector<double> all = x.values(name);
        for (const Range& rows : hidden.untouched)
          untouched.insert(untouched.end(), all.begin() + rows.begin * heads * K, all.begin() + rows.end * heads * K);
      }
      return untouched;
    };
    const std::vector<double> clean = run(false);
    EXPECT_TRUE(run(true) == clean) << "from " << hidden.poisoned.begin << " to " << hidden.poisoned.end;
    EXPECT_TRUE(std::ranges::all_of(clean, [](double value) { return std::isfinite(value); }));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, CudaAttention,
    testing::Values(
        Case{"Causal", 2, 2, 64, 0, 70, {{0, 70}}, {}, {}}, Case{"HeadSize128", 2, 1, 128, 0, 70, {{0, 70}}, {}, {}},
        Case{"ThreeHeadsToOne", 6, 2, 64, 0, 130, {{0, 130}}, {}, {}},
        Case{"EightHeadsToOne", 8, 1, 64, 0, 33, {{0, 33}}, {}, {}}, Case{"OneToken", 2, 1, 64, 0, 1, {{0, 1}}, {}, {}},
        Case{"WholeTiles", 1, 1, 64, 0, 192, {{0, 192}}, {}, {}}, Case{"Window", 2, 1, 64, 0, 200, {{0, 200}}, 17, {}},
        Case{"WideWindow", 2, 1, 64, 0, 260, {{0, 260}}, 130, {}},
        Case{"WindowOfOne", 1, 1, 64, 0, 70, {{0, 70}}, 1, {}},
        Case{"WindowOfTiles", 4, 1, 64, 0, 150, {{0, 150}}, 64, {}},
        Case{"Documents", 2, 2, 64, 0, 150, {{0, 150}}, {}, {0, 3, 4, 63, 127, 149}},
        Case{"DocumentsAndWindow", 2, 1, 64, 0, 150, {{0, 150}}, 30, {0, 50, 64}},
        Case{"RingOfThree", 2, 1, 64, 100, 60, {{40, 60}, {100, 60}, {0, 40}}, {}, {}},
        Case{"HaloAndChunk", 3, 1, 64, 130, 70, {{130, 70}, {99, 31}}, 32, {}},
        Case{"KeysFarBehind", 1, 1, 64, 300, 64, {{300, 64}, {270, 10}}, 50, {}},
        Case{"PieceThatNobodySees", 1, 1, 64, 0, 40, {{0, 40}, {40, 40}, {80, 8}}, {}, {}}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace ropewalk

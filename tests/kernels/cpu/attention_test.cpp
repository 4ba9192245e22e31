// The cpu backend's attention against the reference.
#include <limits>

#include "kernels/make_kernels.h"
#include "tests/kernels/cpu/suite.h"

namespace ropewalk {
namespace {

class CpuAttention : public CpuSuite {};

struct Case {
  Positions queries;
  int64_t T;
  std::vector<int64_t> keys;  // keys [keys[0], keys[1]), then [keys[1], keys[2]), ...
  int64_t H, G, K;
  std::optional<int64_t> window;
  int64_t document_length;                       // documents begin at multiples of it; 0: absent
  int64_t near = Positions::kNoSecond, gap = 0;  // the keys after the first `near` ones lie `gap` positions later

  Positions positions_of_keys() const { return {keys.front(), near, gap}; }
};

std::string text(const Case& c) {
  return fmt::format("queries {}+{}, keys {}..{} in {} pieces, heads {}:{} of {}, window {}, documents of {}",
                     c.queries.begin, c.T, c.keys.front(), c.keys.back(), c.keys.size() - 1, c.H, c.G, c.K,
                     c.window.value_or(0), c.document_length);
}

const Case kCases[] = {
    {0, 1, {0, 1}, 1, 1, 8, {}, 0},
    {0, 0, {0, 5}, 2, 1, 8, {}, 0},                       // no queries
    {3, 4, {0, 0, 7}, 2, 1, 8, {}, 0},                    // a piece without keys
    {0, 7, {0, 7}, 3, 3, 2, {}, 0},                       // the smallest head
    {0, 150, {0, 150}, 2, 1, 8, {}, 0},                   // several tiles of rows and of keys
    {0, 300, {0, 300}, 1, 1, 16, 40, 0},                  // a window below a tile
    {0, 300, {0, 300}, 2, 2, 8, 128, 0},                  // a window of 128, above one tile and below two
    {0, 300, {0, 300}, 2, 1, 8, 200, 0},                  // a window above two tiles
    {0, 40, {0, 40}, 2, 1, 8, 1, 0},                      // a query sees only itself
    {0, 260, {0, 260}, 2, 1, 8, {}, 37},                  // documents
    {0, 260, {0, 260}, 4, 2, 8, 50, 83},                  // documents and a window
    {100, 64, {0, 164}, 3, 1, 6, {}, 0},                  // queries behind their keys; groups of three
    {130, 70, {20, 64, 130, 200}, 4, 2, 24, 90, 0},       // halo pieces
    {200, 50, {0, 60, 100, 170, 250}, 5, 1, 10, {}, 45},  // some pieces are in other documents
    {50, 60, {40, 200}, 2, 1, 8, {}, 0},                  // keys beyond the last query
    {10, 20, {60, 90}, 2, 1, 8, {}, 0},                   // all keys beyond: nothing is visible
    {500, 20, {0, 90}, 2, 1, 8, 100, 0},                  // all keys behind the window
    {0, 90, {0, 90}, 130, 1, 2, 7, 0},                    // more heads in a group than rows in a tile
    {7, 131, {0, 138}, 4, 4, 64, {}, 0},
    {0, 129, {0, 129}, 2, 1, 80, 33, 50},
    {0, 140, {0, 70, 140}, 4, 1, 128, {}, 0},
    {{60, 70, 90}, 140, {60, 200}, 2, 1, 8, {}, 0, 70, 90},         // two chunks with each other
    {{60, 70, 90}, 140, {60, 150, 200}, 2, 1, 8, 100, 33, 70, 90},  // the same in two pieces
    {{60, 70, 390}, 140, {0, 50}, 4, 2, 8, {}, 0},                  // two chunks with one before them
    {400, 70, {50, 190}, 2, 1, 8, {}, 210, 60, 170},                // one chunk with two before it
};

struct Operands {
  explicit Operands(const Case& c)
      : first_key(c.keys.front()),
        q(Twin::normal({c.T, c.H, c.K}, "q")),
        k(Twin::normal({c.keys.back() - first_key, c.G, c.K}, "k")),
        v(Twin::normal({c.keys.back() - first_key, c.G, c.K}, "v")),
        o(Twin::filled({c.T, c.H, c.K}, 0)),
        lse(Twin::filled({c.T, c.H}, -std::numeric_limits<double>::infinity())),
        d_o(Twin::normal({c.T, c.H, c.K}, "d_o")),
        delta(Twin::poison({c.T, c.H})),
        dq(Twin::normal({c.T, c.H, c.K}, "dq")),
        dk(Twin::normal({c.keys.back() - first_key, c.G, c.K}, "dk")),
        dv(Twin::normal({c.keys.back() - first_key, c.G, c.K}, "dv")) {
    for (int64_t t = 0; c.document_length && t < c.T; ++t)
      documents.push_back(static_cast<int32_t>(c.queries.of(t) / c.document_length * c.document_length));
  }

  int64_t first_key;
  Twin q, k, v, o, lse, d_o, delta, dq, dk, dv;
  std::vector<int32_t> documents;
};

template <typename F>
void for_each_piece(const Case& c, Operands& x, F&& f) {
  for (size_t i = 0; i + 1 < c.keys.size(); ++i) {
    AttentionSpan span{c.queries, c.positions_of_keys().from(c.keys[i] - x.first_key), c.window, Tensor()};
    if (c.document_length) span.document_begin = tensor_of(x.documents, {c.T});
    f(span, [&, i](const Tensor& rows) { return rows.slice(c.keys[i] - x.first_key, c.keys[i + 1] - x.first_key); });
  }
}

void forward(const Case& c, Operands& x, Kernels& kernels, const std::function<Tensor(Twin&)>& of) {
  for_each_piece(c, x, [&](const AttentionSpan& span, auto piece) {
    kernels.attention_forward(of(x.q), piece(of(x.k)), piece(of(x.v)), span, of(x.o), of(x.lse));
  });
}

void backward(const Case& c, Operands& x, Kernels& kernels, const std::function<Tensor(Twin&)>& of) {
  kernels.attention_delta(of(x.d_o), of(x.o), of(x.delta));
  for_each_piece(c, x, [&](const AttentionSpan& span, auto piece) {
    kernels.attention_backward(of(x.q), piece(of(x.k)), piece(of(x.v)), of(x.d_o), of(x.lse), of(x.delta), span,
                               of(x.dq), piece(of(x.dk)), piece(of(x.dv)));
  });
}

// A score is a sum of K products, up to 6 for these numbers, so up to 9 in log2 units. Its absolute error is the
// relative error of P. Sums over keys (or queries, for dk and dv) follow.
double tolerance(const Case& c) {
  return 9 * sum_tolerance(c.K) + sum_tolerance(std::max(c.keys.back() - c.keys.front(), c.T * c.H / c.G));
}

TEST_P(CpuAttention, EqualsTheReference) {
  for (const Case& c : kCases) {
    Operands x(c);
    on_both([&](Kernels& kernels, const View& of) {
      forward(c, x, kernels, of);
      backward(c, x, kernels, of);
    });
    EXPECT_TRUE(within("attention: o", x.o.error(), tolerance(c))) << text(c);
    EXPECT_TRUE(within("attention: delta", x.delta.error(), tolerance(c))) << text(c);
    EXPECT_TRUE(within("attention: dq", x.dq.error(), tolerance(c))) << text(c);
    EXPECT_TRUE(within("attention: dk", x.dk.error(), tolerance(c))) << text(c);
    EXPECT_TRUE(within("attention: dv", x.dv.error(), tolerance(c))) << text(c);
    for (size_t i = 0; i < x.lse.exact_values().size(); ++i) {
      const double exact = x.lse.exact_values()[i], got = x.lse.fast_values()[i];
      if (std::isinf(exact))
        EXPECT_EQ(got, exact) << text(c);  // the row sees nothing
      else
        EXPECT_TRUE(within("attention: lse", std::abs(got - exact), tolerance(c))) << text(c);
    }
  }
}

// Keys and values that no query sees are NaN: they must not be read.
TEST_P(CpuAttention, DoesNotTouchWhatNoQuerySees) {
  for (const Case& c : kCases) {
    Operands x(c);
    const auto seen_by_any = [&](int64_t j) {
      for (int64_t t = 0; t < c.T; ++t)
        if (const int64_t i = c.queries.of(t); j <= i && (!c.window || i - j < *c.window) &&
                                               (!c.document_length || j / c.document_length == i / c.document_length))
          return true;
      return false;
    };
    for (int64_t row = 0; row < c.keys.back() - x.first_key; ++row) {
      if (seen_by_any(c.positions_of_keys().of(row))) continue;
      for (Twin* keys : {&x.k, &x.v}) cpu->fill(keys->fast().slice(row, row + 1), std::nan(""));
    }
    const View fast = [](Twin& twin) { return twin.fast(); };
    forward(c, x, *cpu, fast);
    backward(c, x, *cpu, fast);
    for (Twin* output : {&x.o, &x.delta, &x.dq, &x.dk, &x.dv})
      EXPECT_EQ(cpu->first_not_finite(output->fast()), std::nullopt) << text(c);
  }
}

TEST_P(CpuAttention, DoesNotReadOWhereNothingWasSeenBefore) {
  const Case c{0, 140, {0, 70, 140}, 2, 1, 8, {}, 0};
  Operands x(c);
  cpu->fill(x.o.fast(), std::nan(""));
  forward(c, x, *cpu, [](Twin& twin) { return twin.fast(); });
  EXPECT_EQ(cpu->first_not_finite(x.o.fast()), std::nullopt);
}

TEST_P(CpuAttention, GivesTheSameBitsTwice) {
  for (const Case& c : kCases) {
    Operands first(c), second(c);
    const View fast = [](Twin& twin) { return twin.fast(); };
    const auto other = make_kernels(BackendKind::kCpu);
    for (auto [kernels, x] : {std::pair{cpu.get(), &first}, std::pair{other.get(), &second}}) {
      forward(c, *x, *kernels, fast);
      backward(c, *x, *kernels, fast);
    }
    EXPECT_EQ(first.o.fast_values(), second.o.fast_values()) << text(c);
    EXPECT_EQ(first.dq.fast_values(), second.dq.fast_values()) << text(c);
    EXPECT_EQ(first.dk.fast_values(), second.dk.fast_values()) << text(c);
    EXPECT_EQ(first.dv.fast_values(), second.dv.fast_values()) << text(c);
  }
}

// Scores far from 0, whose exponentials overflow without the running maximum.
TEST_P(CpuAttention, HoldsLargeScores) {
  const Case c{0, 140, {0, 140}, 1, 1, 8, {}, 0};
  Operands x(c);
  on_both([&](Kernels& kernels, const View& of) {
    for (int i = 0; i < 6; ++i)
      kernels.add(of(x.q), of(x.q), of(x.q));  // 64 q: scores of size 64 * 6, whose exponentials overflow
    forward(c, x, kernels, of);
  });
  EXPECT_LE(x.o.error(), 64 * tolerance(c));
  EXPECT_EQ(cpu->first_not_finite(x.lse.fast()), std::nullopt);
}

TEST_P(CpuAttention, NotANumberIsNotLost) {
  const Case c{0, 20, {0, 20}, 1, 1, 8, {}, 0};
  for (const bool in_query : {false, true}) {
    Operands x(c);
    cpu->fill((in_query ? x.q : x.k).fast().slice(9, 10), std::nan(""));
    forward(c, x, *cpu, [](Twin& twin) { return twin.fast(); });
    EXPECT_EQ(cpu->first_not_finite(x.lse.fast()), 9);
    EXPECT_EQ(cpu->first_not_finite(x.o.fast()), 9 * 8);
  }
}

TEST_P(CpuAttention, RefusesDocumentsOutOfOrder) {
  const Case c{0, 3, {0, 3}, 1, 1, 8, {}, 1};
  const auto run = [&](std::vector<int32_t> documents) {
    Operands x(c);
    x.documents = documents;
    forward(c, x, *cpu, [](Twin& twin) { return twin.fast(); });
  };
  EXPECT_NO_THROW(run({0, 1, 1}));
  EXPECT_THROW(run({0, 1, 0}), std::logic_error);
  EXPECT_THROW(run({0, 2, 2}), std::logic_error) << "a query before its document";
  EXPECT_THROW(run({-1, 0, 0}), std::logic_error);
}

ROPEWALK_CPU_SUITE(CpuAttention);

}  // namespace
}  // namespace ropewalk

// Operations on elements and rows, with widths that are and are not multiples of 16-byte packs.
#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/bfloat16.h"
#include "tests/kernels/mixed_precision/suite.h"
#include "tests/kernels/values.h"

namespace ropewalk {
namespace {

class MixedRows : public FormSuite {};

TEST_P(MixedRows, Add) {
  for (const int64_t count : {1, 7, 8, 2048, 3001})
    for (const Kind kind : {Kind::kCompute, Kind::kAccumulator})
      check(
          [&](Kernels& k, Operands& x) {
            const Tensor a = x.normal("a", {count}, kind), b = x.normal("b", {count}, kind);
            k.add(a, b, x.poison("y", {count}, kind));
            k.add(a, b, a);
          },
          {"y", "a"});
}

TEST_P(MixedRows, CastCopyAndFill) {
  for (const Shape shape : {Shape{1, 1}, {33, 5}, {16, 8}, {3, 1000}})
    check(
        [&](Kernels& k, Operands& x) {
          const Tensor wide = x.normal("wide", shape, Kind::kAccumulator, 1.0 / 3);
          k.cast(wide, x.poison("narrow", shape));
          k.cast(x.normal("few", shape), x.poison("many", shape, Kind::kAccumulator));
          k.copy(wide, x.poison("copy", shape, Kind::kAccumulator));
          k.fill(x.poison("full", shape), 0.75);
        },
        {"narrow", "many", "copy", "full"});
}

// Around each bf16 number: below, at and above the middle between it and the next, where ties go to even. The largest
// ones round to infinity. Every bf16 number is widened exactly.
TEST_P(MixedRows, CastRoundsToNearestEven) {
  std::vector<float> wide;
  for (const uint32_t upper : {0x0000u, 0x0001u, 0x007fu, 0x0080u, 0x3f7fu, 0x3f80u, 0x3f81u, 0x4049u, 0x7f7eu, 0x7f7fu,
                               0x7f80u, 0x7f81u, 0x7fc0u, 0x7fffu})
    for (const uint32_t sign : {0x0000u, 0x8000u})
      for (const uint32_t lower : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
        wide.push_back(std::bit_cast<float>((sign | upper) << 16 | lower));
  const Shape shape{static_cast<int64_t>(wide.size())};
  Operands x(*tested);
  const Tensor from = x.filled("from", shape), to = x.poison("to", shape), back = x.filled("back", shape);
  tested->upload(wide.data(), from);
  tested->cast(from, to);
  tested->cast(to, back);
  std::vector<BFloat16> rounded(wide.size());
  std::vector<float> widened(wide.size());
  tested->download(to, rounded.data());
  tested->download(back, widened.data());
  for (size_t i = 0; i < wide.size(); ++i) {
    const BFloat16 exact(wide[i]);
    if (std::isnan(wide[i])) {
      EXPECT_TRUE(std::isnan(static_cast<float>(rounded[i])) && std::isnan(widened[i])) << i;
    } else {
      EXPECT_EQ(rounded[i].bits, exact.bits) << wide[i];
      EXPECT_EQ(std::bit_cast<uint32_t>(widened[i]), uint32_t{exact.bits} << 16) << wide[i];
    }
  }
}

TEST_P(MixedRows, SumsAndWhatIsNotFinite) {
  for (const Kind kind : {Kind::kCompute, Kind::kAccumulator})
    for (const int64_t count : {1, 15, 16, 1000, 150000}) {
      Operands x(*tested);
      const Tensor given = x.normal("x", {count}, kind);
      const std::vector<double> values = x.values("x");
      double sum = 0, squares = 0;
      for (double value : values) sum += value, squares += value * value;
      // The fp64 sums are in different orders; each addition rounds once.
      const double tolerance = static_cast<double>(count) * 0x1p-53 * squares;
      EXPECT_NEAR(tested->sum(given), sum, tolerance);
      EXPECT_NEAR(tested->sum_of_squares(given), squares, tolerance);
      EXPECT_EQ(tested->first_not_finite(given), std::nullopt);
      if (count > 1000) continue;
      for (const double bad : {std::nan(""), static_cast<double>(INFINITY), -static_cast<double>(INFINITY)}) {
        std::vector<double> spoilt = values;
        spoilt.back() = bad;
        EXPECT_EQ(tested->first_not_finite(x.given("bad", {count}, spoilt, kind)), count - 1);
        spoilt[static_cast<size_t>(count / 2)] = bad;
        EXPECT_EQ(tested->first_not_finite(x.given("bad", {count}, spoilt, kind)), count / 2);
      }
    }
}

TEST_P(MixedRows, SwiGlu) {
  for (const Shape shape : {Shape{1, 1}, {5, 8}, {3, 11}, {40, 64}, {7, 129}})
    check(
        [&](Kernels& k, Operands& x) {
          const Tensor gate = x.normal("gate", shape, Kind::kCompute, 3), up = x.normal("up", shape);
          k.swiglu_forward(gate, up, x.poison("h", shape));
          k.swiglu_backward(x.normal("dh", shape), gate, up, gate, up);
        },
        {"h", "gate", "up"});
}

struct NormCase {
  int64_t N, D, M;
  bool through;
};
class MixedNorm : public CaseSuite<NormCase> {};

TEST_P(MixedNorm, ForwardAndBackward) {
  const auto [N, D, M, through] = given();
  check(
      [N = N, D = D, M = M, through = through](Kernels& k, Operands& x) {
        const Tensor in = x.normal("x", {N, D}), w = x.normal("w", {M, D});
        const Tensor mean = x.poison("mean", {N}, Kind::kAccumulator), rstd = x.poison("rstd", {N}, Kind::kAccumulator);
        k.layer_norm_forward(in, w, 1e-5, x.poison("y", {N, D}), mean, rstd);
        const Tensor residual = through ? x.normal("residual", {N, D}) : Tensor();
        k.layer_norm_backward(x.normal("dy", {N, D}), in, w, mean, rstd, residual, x.poison("dx", {N, D}),
                              x.normal("dw", {M, D}, Kind::kAccumulator), Write::kAdd);
        k.layer_norm_backward(x.normal("dy", {N, D}), in, w, mean, rstd, residual, x.poison("dx", {N, D}),
                              x.poison("dw set", {M, D}, Kind::kAccumulator), Write::kSet);
      },
      {"y", "mean", "rstd", "dx", "dw", "dw set"});
}

// Teams of a warp and of a block; one round of packs and several; rows that end within a round; more rows than teams;
// several weights used in turn (M > 1).
INSTANTIATE_TEST_SUITE_P(Rows, MixedNorm,
                         testing::Combine(testing::ValuesIn(forms_under_test()),
                                          testing::Values(NormCase{3, 8, 1, false}, NormCase{9, 33, 1, true},
                                                          NormCase{5, 768, 1, true}, NormCase{3, 1024, 1, false},
                                                          NormCase{2, 1032, 1, true}, NormCase{2, 5120, 1, true},
                                                          NormCase{2, 300, 1, true}, NormCase{24, 64, 4, false},
                                                          NormCase{21, 128, 3, false}, NormCase{17000, 8, 1, true},
                                                          NormCase{300, 1032, 1, true}, NormCase{2, 8200, 1, true},
                                                          NormCase{7, 17, 3, true}, NormCase{5, 2, 1, false})));

TEST_P(MixedRows, NormOfNoRows) {
  Operands x(*tested);
  const Tensor none = x.normal("none", {0, 8}), of_none = x.normal("of none", {0}, Kind::kAccumulator);
  tested->layer_norm_backward(none, x.normal("none x", {0, 8}), x.normal("norm", {1, 8}), of_none, of_none, Tensor(),
                              x.normal("none dx", {0, 8}), x.poison("dnorm", {1, 8}, Kind::kAccumulator), Write::kSet);
  EXPECT_EQ(x.values("dnorm"), std::vector<double>(8));
}

TEST_P(MixedRows, NormInPlace) {
  check(
      [](Kernels& k, Operands& x) {
        const Shape shape{6, 40};
        const Tensor in = x.normal("x", shape), w = x.normal("w", {1, 40}), dy = x.normal("dy", shape);
        const Tensor mean = x.poison("mean", {6}, Kind::kAccumulator), rstd = x.poison("rstd", {6}, Kind::kAccumulator);
        k.layer_norm_forward(in, w, 1e-5, x.poison("y", shape), mean, rstd);
        k.layer_norm_backward(dy, in, w, mean, rstd, Tensor(), dy, x.normal("dw", {1, 40}, Kind::kAccumulator),
                              Write::kAdd);
        const Tensor residual = x.normal("residual", shape);
        k.layer_norm_backward(x.normal("dy2", shape), in, w, mean, rstd, residual, residual,
                              x.normal("dw2", {1, 40}, Kind::kAccumulator), Write::kAdd);
      },
      {"dy", "residual", "dw", "dw2"});
}

TEST_P(MixedRows, Rotation) {
  for (const int64_t K : {2, 6, 34, 64, 80, 128})
    for (const int64_t first : {int64_t{0}, int64_t{1000000}})
      for (const Kind kind : {Kind::kCompute, Kind::kAccumulator})
        check(
            [&](Kernels& k, Operands& x) {
              const Tensor forward = x.normal("forward", {5, 11, K}, kind);
              k.rotate(forward, first, 50000, Rotation::kForward);
              k.rotate(x.normal("backward", {5, 11, K}, kind), first, 50000, Rotation::kBackward);
            },
            {"forward", "backward"});
}

TEST_P(MixedRows, Embedding) {
  // Tokens that occur once, about as often as the rows that the kernel reads at once, and twice that; tokens of the
  // ranks before and after this one.
  std::vector<int32_t> tokens(60);
  size_t i = 0;
  for (const auto& [token, count] : {std::pair{0, 1}, {1, 2}, {5, 7}, {6, 8}, {9, 9}, {10, 16}, {19, 17}})
    for (int n = 0; n < count; ++n) tokens[i++ * 7 % 60] = token;
  for (const auto& [D, v_begin] :
       {std::pair<int64_t, int64_t>{8, 5}, {13, 10}, {1, 5}, {32, 5}, {2056, 5}, {259, 10}}) {
    check(
        [&, D = D, v_begin = v_begin](Kernels& k, Operands& x) {
          const Tensor table = x.normal("table", {10, D}), indices = x.integers({60}, tokens);
          k.embedding_forward(indices, table, v_begin, x.poison("x", {60, D}));
          k.embedding_backward(indices, x.normal("dx", {60, D}), v_begin,
                               x.normal("dtable", {10, D}, Kind::kAccumulator));
        },
        {"x", "dtable"});
  }
}

TEST_P(MixedRows, CrossEntropy) {
  for (const int64_t V : {3, 33, 64, 2500}) {
    const std::vector<int32_t> targets = {-1, 5, 7, 0, static_cast<int32_t>(V + 4), 6, -1};
    const auto N = static_cast<int64_t>(targets.size());
    check(
        [&](Kernels& k, Operands& x) {
          const Tensor target = x.integers({N}, targets);
          const Tensor all = x.poison("partials", {2, N, 3}, Kind::kAccumulator);
          const Tensor mine = x.normal("mine", {N, V}, Kind::kCompute, 4), theirs = x.normal("theirs", {N, V});
          k.cross_entropy_partials(mine, target, 5, 0.25, all.slice(0, 1).reshape({N, 3}));
          k.cross_entropy_partials(theirs, target, 5 + V, 0.25, all.slice(1, 2).reshape({N, 3}));
          const Tensor log_sum = x.poison("log_sum", {N}, Kind::kAccumulator);
          k.cross_entropy_merge(all, target, log_sum, x.poison("losses", {N}, Kind::kAccumulator));
          k.cross_entropy_backward(mine, target, log_sum, 5, 0.25, 1.0 / 64);
        },
        {"partials", "log_sum", "losses", "mine"});
  }
}

TEST_P(MixedRows, CrossEntropyOfNoRowsOfTheVocabulary) {
  Operands x(*tested);
  const Tensor partials = x.poison("partials", {2, 3}, Kind::kAccumulator);
  tested->cross_entropy_partials(x.normal("none", {2, 0}), x.integers({2}, {1, -1}), 0, 1, partials);
  const std::vector<double> values = x.values("partials");
  for (size_t row = 0; row < 2; ++row) {
    EXPECT_EQ(values[3 * row], -INFINITY);
    EXPECT_EQ(values[3 * row + 1], 0);
    EXPECT_EQ(values[3 * row + 2], 0);
  }
}

// Whole packs of -inf: at the beginning of a row, where a thread has seen nothing else yet, and later.
TEST_P(MixedRows, LogitsOfMinusInfinityAreNothing) {
  for (const size_t first : {size_t{0}, size_t{4096}}) {
    std::vector<double> logits = normal_values(2 * 8192, "logits");
    std::fill_n(logits.begin() + static_cast<std::ptrdiff_t>(first), 3000, -INFINITY);
    check(
        [&](Kernels& k, Operands& x) {
          const Tensor all = x.given("logits", {2, 8192}, logits), target = x.integers({2}, {5000, -1});
          k.cross_entropy_partials(all, target, 0, 0.25, x.poison("partials", {2, 3}, Kind::kAccumulator));
          k.cross_entropy_backward(all, target, x.given("log_sum", {2}, {8, 8}, Kind::kAccumulator), 0, 0.25, 1);
        },
        {"partials", "logits"});
  }
}

TEST_P(MixedRows, ANaNReachesTheLoss) {
  for (const int64_t place : {0, 700}) {
    Operands x(*tested);
    std::vector<double> logits = normal_values(1000, "logits");
    logits[static_cast<size_t>(place)] = std::nan("");
    const Tensor partials = x.poison("partials", {1, 3}, Kind::kAccumulator), target = x.integers({1}, {3});
    tested->cross_entropy_partials(x.given("logits", {1, 1000}, logits), target, 0, 1, partials);
    tested->cross_entropy_merge(partials.reshape({1, 1, 3}), target, x.poison("log_sum", {1}, Kind::kAccumulator),
                                x.given("losses", {1}, {0}, Kind::kAccumulator));
    EXPECT_TRUE(std::isnan(x.values("losses")[0])) << place;
  }
}

// One NaN in one operand reaches what is computed from it.
TEST_P(MixedRows, ANaNReachesTheOutput) {
  const int64_t N = 3, D = 70;
  const size_t bad = static_cast<size_t>(D + 41);  // in the middle row
  Operands x(*tested);
  std::vector<double> values = normal_values(N * D, "spoilt");
  values[bad] = NAN;
  const auto spoilt = [&](const char* name, Kind kind = Kind::kCompute) { return x.given(name, {N, D}, values, kind); };
  const auto sound = [&](const char* name, Kind kind = Kind::kCompute) { return x.normal(name, {N, D}, kind); };
  const auto expect_nan = [&](const char* name, size_t begin, size_t end) {
    const std::vector<double> all = x.values(name);
    for (size_t i = 0; i < all.size(); ++i) ASSERT_EQ(std::isnan(all[i]), begin <= i && i < end) << name << ", " << i;
  };
  const Tensor sound_x = sound("x"), w = x.normal("w", {1, D});
  tested->add(sound_x, spoilt("b"), sound("sum"));
  expect_nan("sum", bad, bad + 1);
  for (const bool in_gate : {false, true}) {
    const Tensor gate = in_gate ? spoilt("gate") : sound("gate"), up = in_gate ? sound("up") : spoilt("up");
    tested->swiglu_forward(gate, up, sound("h"));
    expect_nan("h", bad, bad + 1);
    tested->swiglu_backward(sound_x, gate, up, sound("dgate"), sound("dup"));
    expect_nan("dgate", bad, bad + 1);
    expect_nan("dup", bad, in_gate ? bad + 1 : bad);
  }
  const auto middle = static_cast<size_t>(D), end = static_cast<size_t>(2 * D);
  const Tensor mean = x.filled("mean", {N}), rstd = x.filled("rstd", {N});
  tested->layer_norm_forward(spoilt("bad x"), w, 1e-5, sound("y"), mean, rstd);
  expect_nan("y", middle, end);
  tested->layer_norm_forward(sound_x, w, 1e-5, sound("y"), mean, rstd);
  const Tensor dw = x.filled("dw", {1, D});
  tested->layer_norm_backward(spoilt("dy"), sound_x, w, mean, rstd, Tensor(), sound("dx"), dw, Write::kSet);
  expect_nan("dx", middle, end);
  expect_nan("dw", bad - middle, bad - middle + 1);
  for (const Kind kind : {Kind::kCompute, Kind::kAccumulator}) {
    tested->rotate(spoilt("turned", kind).reshape({N, 1, D}), 5, 1e4, Rotation::kForward);
    expect_nan("turned", bad - 1, bad + 1);
  }
  const Kind wide = Kind::kAccumulator;
  const Tensor v = x.filled("v", {N, D}, 1);
  tested->adamw(sound("master", wide), spoilt("g", wide), sound("m", wide), v, sound("narrow"),
                {1e-2, 0.9, 0.95, 1e-8, 0.1, 3, 1});
  for (const char* name : {"master", "m", "v", "narrow"}) expect_nan(name, bad, bad + 1);
  tested->embedding_backward(x.integers({N}, {0, 1, 2}), spoilt("dx"), 0, sound("dtable", wide));
  expect_nan("dtable", bad, bad + 1);
  const int64_t K = 64;
  std::vector<double> rows = normal_values(N * K, "o");
  rows[static_cast<size_t>(2 * K - 1)] = NAN;
  tested->attention_delta(x.normal("do", {N, 1, K}), x.given("o", {N, 1, K}, rows), x.filled("delta", {N, 1}));
  expect_nan("delta", 1, 2);
}

TEST_P(MixedRows, AdamW) {
  for (const int64_t count : {1, 16, 64, 1003})
    check(
        [&](Kernels& k, Operands& x) {
          const bool mixed = k.dtype() == DType::kBF16;
          const Tensor w = x.normal("w", {count}, Kind::kAccumulator), g = x.normal("g", {count}, Kind::kAccumulator);
          const Tensor m = x.normal("m", {count}, Kind::kAccumulator, 0.1);
          std::vector<double> squares = normal_values(count, "v");
          for (double& value : squares) value = static_cast<float>(value * value);
          const Tensor v = x.given("v", {count}, squares, Kind::kAccumulator);
          for (int64_t step : {3, 4}) {
            const AdamWStep adamw{1e-2, 0.9, 0.95, 1e-8, 0.1, step, 0.5};
            const Tensor narrow = x.poison("narrow", {count});
            k.adamw(w, g, m, v, mixed ? narrow : Tensor(), adamw);
            if (!mixed) k.cast(w, narrow);
          }
        },
        {"w", "m", "v", "narrow"});
}

// Rows whose alignment rules out packs.
TEST_P(MixedRows, NormOfRowsThatAreNotAligned) {
  check(
      [](Kernels& k, Operands& x) {
        const auto odd = [&](const std::string& name) {
          return x.normal(name, {9 * 8}).slice(1, 1 + 8 * 8).reshape({8, 8});
        };
        k.layer_norm_forward(odd("x"), x.normal("w", {1, 8}), 1e-5, odd("y"), x.poison("mean", {8}, Kind::kAccumulator),
                             x.poison("rstd", {8}, Kind::kAccumulator));
      },
      {"y", "mean", "rstd"});
}

INSTANTIATE_TEST_SUITE_P(Forms, MixedRows, testing::ValuesIn(forms_under_test()), name_of_form);

}  // namespace
}  // namespace ropewalk

// Operations on elements and rows, with widths that are and are not multiples of 16-byte packs.
#include <algorithm>
#include <array>
#include <cmath>

#include "tests/kernels/cuda/suite.h"
#include "tests/kernels/values.h"

namespace ropewalk {
namespace {

class CudaRows : public CudaSuite {};

TEST_F(CudaRows, Add) {
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

TEST_F(CudaRows, CastCopyAndFill) {
  check(
      [&](Kernels& k, Operands& x) {
        const Tensor wide = x.normal("wide", {33, 5}, Kind::kAccumulator, 1.0 / 3);
        k.cast(wide, x.poison("narrow", {33, 5}));
        k.cast(x.normal("few", {16, 8}), x.poison("many", {16, 8}, Kind::kAccumulator));
        k.copy(wide, x.poison("copy", {33, 5}, Kind::kAccumulator));
        k.fill(x.poison("full", {3, 7}), 0.75);
      },
      {"narrow", "many", "copy", "full"});
}

TEST_F(CudaRows, SumsAndWhatIsNotFinite) {
  for (const int64_t count : {1, 1000, 150000}) {
    const std::vector<double> values = normal_values(count, "sums");
    Operands x(*cuda);
    double sum = 0, squares = 0;
    for (double value : values) sum += value, squares += value * value;
    const Tensor wide = x.given("x", {count}, values, Kind::kAccumulator);
    // The fp64 sums are in different orders; each addition rounds once.
    const double tolerance = static_cast<double>(count) * 0x1p-53 * squares;
    EXPECT_NEAR(cuda->sum(wide), sum, tolerance);
    EXPECT_NEAR(cuda->sum_of_squares(wide), squares, tolerance);
    EXPECT_EQ(cuda->first_not_finite(wide), std::nullopt);
    if (count > 1000) continue;
    for (const double bad : {std::nan(""), static_cast<double>(INFINITY), -static_cast<double>(INFINITY)}) {
      std::vector<double> spoilt = values;
      spoilt.back() = bad;
      EXPECT_EQ(cuda->first_not_finite(x.given("bad", {count}, spoilt, Kind::kAccumulator)), count - 1);
      spoilt[static_cast<size_t>(count / 2)] = bad;
      EXPECT_EQ(cuda->first_not_finite(x.given("bad", {count}, spoilt)), count / 2);
    }
  }
}

TEST_F(CudaRows, SwiGlu) {
  for (const Shape shape : {Shape{5, 8}, {3, 11}, {40, 64}})
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
class CudaNorm : public CudaSuite, public testing::WithParamInterface<NormCase> {};

TEST_P(CudaNorm, ForwardAndBackward) {
  const auto [N, D, M, through] = GetParam();
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
INSTANTIATE_TEST_SUITE_P(Rows, CudaNorm,
                         testing::Values(NormCase{3, 8, 1, false}, NormCase{9, 33, 1, true}, NormCase{5, 768, 1, true},
                                         NormCase{3, 1024, 1, false}, NormCase{2, 1032, 1, true},
                                         NormCase{2, 5120, 1, true}, NormCase{2, 300, 1, true},
                                         NormCase{24, 64, 4, false}, NormCase{21, 128, 3, false},
                                         NormCase{17000, 8, 1, true}, NormCase{300, 1032, 1, true},
                                         NormCase{2, 8200, 1, true}));

TEST_F(CudaRows, NormInPlace) {
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

TEST_F(CudaRows, Rotation) {
  for (const int64_t K : {2, 6, 64, 128})
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

TEST_F(CudaRows, Embedding) {
  // Tokens that occur once, about as often as the rows that the kernel reads at once, and twice that; tokens of the
  // ranks before and after this one.
  std::vector<int32_t> tokens(60);
  size_t i = 0;
  for (const auto& [token, count] : {std::pair{0, 1}, {1, 2}, {5, 7}, {6, 8}, {9, 9}, {10, 16}, {19, 17}})
    for (int n = 0; n < count; ++n) tokens[i++ * 7 % 60] = token;
  for (const auto& [D, v_begin] : {std::pair<int64_t, int64_t>{8, 5}, {13, 10}, {2056, 5}, {259, 10}}) {
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

TEST_F(CudaRows, CrossEntropy) {
  for (const int64_t V : {3, 64, 2500}) {
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

TEST_F(CudaRows, CrossEntropyOfNoRowsOfTheVocabulary) {
  Operands x(*cuda);
  const Tensor partials = x.poison("partials", {2, 3}, Kind::kAccumulator);
  cuda->cross_entropy_partials(x.normal("none", {2, 0}), x.integers({2}, {1, -1}), 0, 1, partials);
  const std::vector<double> values = x.values("partials");
  for (size_t row = 0; row < 2; ++row) {
    EXPECT_EQ(values[3 * row], -INFINITY);
    EXPECT_EQ(values[3 * row + 1], 0);
    EXPECT_EQ(values[3 * row + 2], 0);
  }
}

// Whole packs of -inf: at the beginning of a row, where a thread has seen nothing else yet, and later.
TEST_F(CudaRows, LogitsOfMinusInfinityAreNothing) {
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

TEST_F(CudaRows, ANaNReachesTheLoss) {
  for (const int64_t place : {0, 700}) {
    Operands x(*cuda);
    std::vector<double> logits = normal_values(1000, "logits");
    logits[static_cast<size_t>(place)] = std::nan("");
    const Tensor partials = x.poison("partials", {1, 3}, Kind::kAccumulator), target = x.integers({1}, {3});
    cuda->cross_entropy_partials(x.given("logits", {1, 1000}, logits), target, 0, 1, partials);
    cuda->cross_entropy_merge(partials.reshape({1, 1, 3}), target, x.poison("log_sum", {1}, Kind::kAccumulator),
                              x.given("losses", {1}, {0}, Kind::kAccumulator));
    EXPECT_TRUE(std::isnan(x.values("losses")[0])) << place;
  }
}

TEST_F(CudaRows, AdamW) {
  for (const int64_t count : {1, 64, 1003})
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

// Rows of whole 16-byte packs, and others: a vocabulary of 256 bytes and one more, and odd widths.
TEST_F(CudaRows, Products) {
  for (const auto& [N, I, O] : {std::array<int64_t, 3>{19, 24, 10}, {64, 64, 257}, {33, 7, 5}, {1, 257, 64}})
    check(
        [N = N, I = I, O = O](Kernels& k, Operands& x) {
          const Tensor in = x.normal("x", {N, I}), w = x.normal("w", {O, I}), dy = x.normal("dy", {N, O});
          k.linear_forward(in, w, x.poison("y", {N, O}), Write::kSet);
          k.linear_forward(in, w, x.normal("more", {N, O}), Write::kAdd);
          k.linear_backward_input(dy, w, x.poison("dx", {N, I}), Write::kSet);
          k.linear_backward_input(dy, w, x.normal("more dx", {N, I}), Write::kAdd);
          k.linear_backward_weight(dy, in, x.poison("dw", {O, I}, Kind::kAccumulator), Write::kSet);
          k.linear_backward_weight(dy, in, x.normal("more dw", {O, I}, Kind::kAccumulator), Write::kAdd);
        },
        {"y", "more", "dx", "more dx", "dw", "more dw"});
}

// As on ranks without tokens, or whose shard of the vocabulary has no rows.
TEST_F(CudaRows, ProductsOverNothing) {
  check(
      [](Kernels& k, Operands& x) {
        const int64_t N = 3, I = 8;
        k.linear_backward_input(x.normal("dy", {N, 0}), x.normal("w", {0, I}), x.normal("kept", {N, I}), Write::kAdd);
        k.linear_backward_weight(x.normal("none dy", {0, 4}), x.normal("none x", {0, I}),
                                 x.normal("dw", {4, I}, Kind::kAccumulator), Write::kAdd);
      },
      {"kept", "dw"});
  Operands x(*cuda);
  cuda->linear_backward_input(x.normal("dy", {3, 0}), x.normal("w", {0, 8}), x.poison("dx", {3, 8}), Write::kSet);
  EXPECT_EQ(x.values("dx"), std::vector<double>(24));
  const Tensor none = x.normal("none", {0, 8}), of_none = x.normal("of none", {0}, Kind::kAccumulator);
  cuda->linear_backward_weight(x.normal("none dy", {0, 4}), none, x.poison("dw", {4, 8}, Kind::kAccumulator),
                               Write::kSet);
  EXPECT_EQ(x.values("dw"), std::vector<double>(32));
  cuda->layer_norm_backward(none, x.normal("none x", {0, 8}), x.normal("norm", {1, 8}), of_none, of_none, Tensor(),
                            x.normal("none dx", {0, 8}), x.poison("dnorm", {1, 8}, Kind::kAccumulator), Write::kSet);
  EXPECT_EQ(x.values("dnorm"), std::vector<double>(8));
}

// Rows whose alignment rules out packs, and one that is too long to be read without packs.
TEST_F(CudaRows, NormOfRowsThatAreNotAligned) {
  check(
      [](Kernels& k, Operands& x) {
        const auto odd = [&](const std::string& name) {
          return x.normal(name, {9 * 8}).slice(1, 1 + 8 * 8).reshape({8, 8});
        };
        k.layer_norm_forward(odd("x"), x.normal("w", {1, 8}), 1e-5, odd("y"), x.poison("mean", {8}, Kind::kAccumulator),
                             x.poison("rstd", {8}, Kind::kAccumulator));
      },
      {"y", "mean", "rstd"});
  Operands x(*cuda);
  const Tensor row = x.normal("row", {2 * 2056}).slice(1, 2057).reshape({1, 2056});
  const Tensor one = x.poison("one", {1}, Kind::kAccumulator), other = x.poison("other", {1}, Kind::kAccumulator);
  EXPECT_THROW(cuda->layer_norm_forward(row, x.normal("w", {1, 2056}), 1e-5, x.poison("y", {1, 2056}), one, other),
               std::logic_error);
}

}  // namespace
}  // namespace ropewalk

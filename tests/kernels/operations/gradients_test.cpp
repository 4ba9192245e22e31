// The reference's backward functions against the derivatives of its forward functions by the complex step
// (Squire & Trapp, SIAM Review 40, 1998): f'(x) = Im f(x + ih) / h has no cancellation, so both sides are exact to
// rounding.
#include <gtest/gtest.h>

#include "kernels/operations/attention.h"
#include "kernels/operations/cross_entropy.h"
#include "kernels/operations/embedding.h"
#include "kernels/operations/layer_norm.h"
#include "kernels/operations/linear.h"
#include "kernels/operations/rotate.h"
#include "kernels/operations/swiglu.h"
#include "tests/kernels/values.h"

namespace ropewalk {
namespace {

using Complex = std::complex<double>;
using Values = std::vector<double>;
using Complexes = std::vector<Complex>;

Values normal(int64_t count, std::string_view name) { return normal_values(count, name); }

Complex weighted_sum(const Values& weights, const Complexes& y) {
  Complex sum = 0;
  for (size_t i = 0; i < y.size(); ++i) sum += weights[i] * y[i];
  return sum;
}

// Compares `gradient` with the derivative of loss(x) by each entry of x. Both are sums of at most some thousand
// products, each exact to a few eps = 2.2e-16. The tolerance, 1e-12 of the largest entry, is 30 times sqrt(10^3) * eps
// * the dozen operations in a product.
template <typename Loss>
void expect_gradient(const char* name, const Values& gradient, const Values& x, Loss&& loss) {
  constexpr double kStep = 1e-30;
  ASSERT_EQ(gradient.size(), x.size()) << name;
  double largest = 0;
  for (double g : gradient) largest = std::max(largest, std::abs(g));
  ASSERT_GT(largest, 1e-3) << name << ": the gradient is too small to test";
  Complexes moved(x.begin(), x.end());
  for (size_t i = 0; i < x.size(); ++i) {
    moved[i] += Complex(0, kStep);
    EXPECT_NEAR(gradient[i], loss(moved).imag() / kStep, 1e-12 * largest) << name << "[" << i << "]";
    moved[i] = x[i];
  }
}

Complexes lift(const Values& x) { return Complexes(x.begin(), x.end()); }

TEST(ReferenceGradients, Linear) {
  const operations::LinearSizes s{5, 4, 3};
  const Values x = normal(s.N * s.I, "x"), w = normal(s.O * s.I, "w"), dy = normal(s.N * s.O, "dy");
  const auto loss = [&](const Complexes& x_, const Complexes& w_) {
    Complexes y(dy.size());
    operations::linear_forward(s, x_.data(), w_.data(), y.data(), Write::kSet);
    return weighted_sum(dy, y);
  };
  Values dx(x.size(), 7), dw(w.size(), 7);
  operations::linear_backward_input(s, dy.data(), w.data(), dx.data(), Write::kSet);
  operations::linear_backward_weight(s, dy.data(), x.data(), dw.data(), Write::kSet);
  expect_gradient("dx", dx, x, [&](const Complexes& moved) { return loss(moved, lift(w)); });
  expect_gradient("dw", dw, w, [&](const Complexes& moved) { return loss(lift(x), moved); });
}

TEST(ReferenceGradients, LinearAdds) {
  const operations::LinearSizes s{2, 3, 2};
  const Values x = normal(6, "x"), w = normal(6, "w"), dy = normal(4, "dy");
  Values y(4), y_added(4, 10), dx(6), dx_added(6, 10), dw(6), dw_added(6, 10);
  operations::linear_forward(s, x.data(), w.data(), y.data(), Write::kSet);
  operations::linear_forward(s, x.data(), w.data(), y_added.data(), Write::kAdd);
  operations::linear_backward_input(s, dy.data(), w.data(), dx.data(), Write::kSet);
  operations::linear_backward_input(s, dy.data(), w.data(), dx_added.data(), Write::kAdd);
  operations::linear_backward_weight(s, dy.data(), x.data(), dw.data(), Write::kSet);
  operations::linear_backward_weight(s, dy.data(), x.data(), dw_added.data(), Write::kAdd);
  for (size_t i = 0; i < y.size(); ++i) EXPECT_DOUBLE_EQ(y_added[i], 10 + y[i]);
  for (size_t i = 0; i < dx.size(); ++i) EXPECT_NEAR(dx_added[i], 10 + dx[i], 1e-14);  // a few roundings at 10
  for (size_t i = 0; i < dw.size(); ++i) EXPECT_NEAR(dw_added[i], 10 + dw[i], 1e-14);
}

TEST(ReferenceGradients, Embedding) {
  const operations::EmbeddingSizes s{6, 4, 3};
  const int64_t v_begin = 4;
  const std::vector<int32_t> tokens = {4, 7, 4, 3, 8, 5};  // other ranks hold 3 and 8
  const Values table = normal(s.V * s.D, "table"), dx = normal(s.N * s.D, "dx");
  Values dtable(table.size(), 0);
  operations::embedding_backward(s, tokens.data(), dx.data(), v_begin, dtable.data());
  expect_gradient("dtable", dtable, table, [&](const Complexes& moved) {
    Complexes x(dx.size(), 9);
    operations::embedding_forward(s, tokens.data(), moved.data(), v_begin, x.data());
    return weighted_sum(dx, x);
  });
}

// M rows of weights for N rows, where N need not be a multiple of M; the residual path's gradient; outputs in place of
// inputs.
void check_layer_norm(int64_t N, int64_t D, int64_t M, bool with_through, bool in_place) {
  const operations::LayerNormSizes s{N, D, M};
  const double epsilon = 1e-3;
  const Values x = normal(N * D, "x"), w = normal(M * D, "w"), dy = normal(N * D, "dy");
  const Values through = with_through ? normal(N * D, "through") : Values();
  const auto loss = [&](const Complexes& x_, const Complexes& w_) {
    Complexes y(x.size()), mean(static_cast<size_t>(N)), rstd(static_cast<size_t>(N));
    operations::layer_norm_forward(s, x_.data(), w_.data(), epsilon, y.data(), mean.data(), rstd.data());
    return weighted_sum(dy, y) + (with_through ? weighted_sum(through, x_) : Complex(0));
  };
  Values y(x.size()), mean(static_cast<size_t>(N)), rstd(static_cast<size_t>(N)), dx(x.size()), dw(w.size(), 7);
  operations::layer_norm_forward(s, x.data(), w.data(), epsilon, y.data(), mean.data(), rstd.data());
  if (in_place) dx = with_through ? through : dy;
  operations::layer_norm_backward(s, in_place && !with_through ? dx.data() : dy.data(), x.data(), w.data(), mean.data(),
                                  rstd.data(),
                                  !with_through ? nullptr
                                  : in_place    ? dx.data()
                                                : through.data(),
                                  dx.data(), dw.data(), Write::kSet);
  expect_gradient("dx", dx, x, [&](const Complexes& moved) { return loss(moved, lift(w)); });
  expect_gradient("dw", dw, w, [&](const Complexes& moved) { return loss(lift(x), moved); });
}

TEST(ReferenceGradients, LayerNorm) { check_layer_norm(4, 6, 1, false, false); }
TEST(ReferenceGradients, LayerNormOfHeads) { check_layer_norm(7, 5, 3, false, false); }
TEST(ReferenceGradients, LayerNormWithResidual) { check_layer_norm(4, 6, 2, true, false); }
TEST(ReferenceGradients, LayerNormInPlaceOfDy) { check_layer_norm(4, 6, 2, false, true); }
TEST(ReferenceGradients, LayerNormInPlaceOfResidual) { check_layer_norm(4, 6, 2, true, true); }

TEST(ReferenceGradients, Rotate) {
  const operations::RotateSizes s{5, 2, 6};
  const Values x = normal(s.T * s.H * s.K, "x"), dy = normal(s.T * s.H * s.K, "dy");
  Values dx = dy;
  operations::rotate(s, dx.data(), 1000, 50.0, Rotation::kBackward);
  expect_gradient("dx", dx, x, [&](Complexes moved) {
    operations::rotate(s, moved.data(), 1000, 50.0, Rotation::kForward);
    return weighted_sum(dy, moved);
  });
}

// The formula of kernels.h, written out for two pairs; and the property for which RoPE is used: the dot product of two
// rotated vectors depends only on the difference of their positions.
TEST(ReferenceGradients, RotateTurnsPairsByPositionTimesFrequency) {
  std::vector<double> x = {1, 0, 1, 0};
  operations::rotate(operations::RotateSizes{1, 1, 4}, x.data(), 3, 100.0, Rotation::kForward);
  const double slow = 3 * 0.1;  // 100^(-2/4) = 0.1
  const Values expected = {std::cos(3.0), std::sin(3.0), std::cos(slow), std::sin(slow)};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(x[i], expected[i], 1e-15);

  const auto product = [](int64_t at, int64_t other) {
    Values a = normal(8, "a"), b = normal(8, "b");
    const operations::RotateSizes one{1, 1, 8};
    operations::rotate(one, a.data(), at, 1e4, Rotation::kForward);
    operations::rotate(one, b.data(), other, 1e4, Rotation::kForward);
    return operations::dot(8, a.data(), b.data());
  };
  EXPECT_NEAR(product(5, 2), product(1005, 1002), 1e-12);  // the angles are exact to 1005 * eps = 2e-13
  EXPECT_GT(std::abs(product(5, 2) - product(5, 3)), 1e-3);
}

TEST(ReferenceGradients, SwiGlu) {
  for (const bool in_place : {false, true}) {
    const Values gate = normal(12, "gate"), up = normal(12, "up"), dh = normal(12, "dh");
    const auto loss = [&](const Complexes& gate_, const Complexes& up_) {
      Complexes h(dh.size());
      operations::swiglu_forward(12, gate_.data(), up_.data(), h.data());
      return weighted_sum(dh, h);
    };
    Values dgate = in_place ? gate : Values(12), dup = in_place ? up : Values(12);
    operations::swiglu_backward(12, dh.data(), in_place ? dgate.data() : gate.data(), in_place ? dup.data() : up.data(),
                                dgate.data(), dup.data());
    expect_gradient("dgate", dgate, gate, [&](const Complexes& moved) { return loss(moved, lift(up)); });
    expect_gradient("dup", dup, up, [&](const Complexes& moved) { return loss(lift(gate), moved); });
  }
}

// The loss over a vocabulary in pieces of 3, 0 and 4 columns, one row ignored.
TEST(ReferenceGradients, CrossEntropy) {
  const int64_t N = 4, V = 7;
  const std::vector<int64_t> begins = {0, 3, 3, V};
  const std::vector<int32_t> targets = {2, 3, -1, 6};
  const double logit_scale = 0.25, loss_scale = 1.0 / 3;
  const Values logits = normal(N * V, "logits");
  const auto columns = [&](const auto& all, size_t piece) {
    std::decay_t<decltype(all)> out;
    for (int64_t n = 0; n < N; ++n)
      out.insert(out.end(), all.begin() + n * V + begins[piece], all.begin() + n * V + begins[piece + 1]);
    return out;
  };
  const auto forward = [&](const auto& all, auto& log_sum, auto& losses) {
    using Scalars = std::decay_t<decltype(all)>;
    Scalars partials(3 * static_cast<size_t>(3 * N));
    for (size_t r = 0; r < 3; ++r) {
      const Scalars piece = columns(all, r);
      operations::cross_entropy_partials({N, begins[r + 1] - begins[r]}, piece.data(), targets.data(), begins[r],
                                         logit_scale, partials.data() + r * static_cast<size_t>(3 * N));
    }
    operations::cross_entropy_merge({3, N}, partials.data(), targets.data(), log_sum.data(), losses.data());
  };
  Values log_sum(N), losses(N), gradient(logits.size());
  forward(logits, log_sum, losses);
  EXPECT_EQ(losses[2], 0);
  for (int64_t n = 0; n < N; ++n) {  // the loss is -log softmax, written out
    double sum = 0;
    for (int64_t v = 0; v < V; ++v) sum += std::exp(logit_scale * logits[static_cast<size_t>(n * V + v)]);
    EXPECT_NEAR(log_sum[static_cast<size_t>(n)], std::log(sum), 1e-14);
    const int32_t target = targets[static_cast<size_t>(n)];
    if (target < 0) continue;
    const double expected = std::log(sum) - logit_scale * logits[static_cast<size_t>(n * V + target)];
    EXPECT_NEAR(losses[static_cast<size_t>(n)], expected, 1e-14);
  }
  for (size_t r = 0; r < 3; ++r) {
    Values piece = columns(logits, r);
    const int64_t width = begins[r + 1] - begins[r];
    operations::cross_entropy_backward({N, width}, piece.data(), targets.data(), log_sum.data(), begins[r], logit_scale,
                                       loss_scale);
    for (int64_t n = 0; n < N; ++n) std::copy_n(piece.begin() + n * width, width, gradient.begin() + n * V + begins[r]);
  }
  expect_gradient("dlogits", gradient, logits, [&](const Complexes& moved) {
    Complexes log_sum_(N), losses_(N);
    forward(moved, log_sum_, losses_);
    return weighted_sum(Values(N, loss_scale), losses_);
  });
}

}  // namespace
}  // namespace ropewalk

// Products with a weight [O, I]: the forward and its two adjoints.
#pragma once

#include "kernels/reference/scalar.h"

namespace ropewalk::reference {

struct LinearSizes {
  int64_t N, I, O;
};

// `w` is the weight, or its gradient.
inline LinearSizes linear_sizes(const Kernels& kernels, const char* name, const Tensor& x, const Tensor& w,
                                DType w_type, const Tensor& y) {
  check_rank(name, x, 2);
  check_rank(name, w, 2);
  const LinearSizes sizes{x.extent(0), x.extent(1), w.extent(0)};
  check_operand(kernels, name, x, kernels.dtype(), {sizes.N, sizes.I});
  check_operand(kernels, name, w, w_type, {sizes.O, sizes.I});
  check_operand(kernels, name, y, kernels.dtype(), {sizes.N, sizes.O});
  return sizes;
}

inline LinearSizes linear_forward_sizes(const Kernels& kernels, const Tensor& x, const Tensor& w, const Tensor& y) {
  check_apart("linear_forward: y", y, {x, w});
  return linear_sizes(kernels, "linear_forward", x, w, kernels.dtype(), y);
}

inline LinearSizes linear_backward_input_sizes(const Kernels& kernels, const Tensor& dy, const Tensor& w,
                                               const Tensor& dx) {
  check_apart("linear_backward_input: dx", dx, {dy, w});
  return linear_sizes(kernels, "linear_backward_input", dx, w, kernels.dtype(), dy);
}

inline LinearSizes linear_backward_weight_sizes(const Kernels& kernels, const Tensor& dy, const Tensor& x,
                                                const Tensor& dw) {
  check_apart("linear_backward_weight: dw", dw, {dy, x});
  return linear_sizes(kernels, "linear_backward_weight", x, dw, accumulator_of(kernels.dtype()), dy);
}

// y (+)= x w^T
template <typename S>
void linear_forward(const LinearSizes& s, const S* x, const S* w, S* y, Write write) {
  for (int64_t n = 0; n < s.N; ++n) {
    for (int64_t o = 0; o < s.O; ++o) {
      S sum{};
      for (int64_t i = 0; i < s.I; ++i) sum += x[n * s.I + i] * w[o * s.I + i];
      S& out = y[n * s.O + o];
      out = write == Write::kAdd ? out + sum : sum;
    }
  }
}

// dx (+)= dy w
template <typename S>
void linear_backward_input(const LinearSizes& s, const S* dy, const S* w, S* dx, Write write) {
  for (int64_t n = 0; n < s.N; ++n) {
    S* row = dx + n * s.I;
    if (write == Write::kSet)
      for (int64_t i = 0; i < s.I; ++i) row[i] = S{};
    for (int64_t o = 0; o < s.O; ++o)
      for (int64_t i = 0; i < s.I; ++i) row[i] += dy[n * s.O + o] * w[o * s.I + i];
  }
}

// dw += dy^T x
template <typename S>
void linear_backward_weight(const LinearSizes& s, const S* dy, const S* x, S* dw) {
  for (int64_t n = 0; n < s.N; ++n)
    for (int64_t o = 0; o < s.O; ++o)
      for (int64_t i = 0; i < s.I; ++i) dw[o * s.I + i] += dy[n * s.O + o] * x[n * s.I + i];
}

}  // namespace ropewalk::reference

// Products with a weight [O, I]: the forward and its two adjoints.
#pragma once

#include <algorithm>

#include "kernels/kernels.h"
#include "kernels/operations/scalar.h"

namespace ropewalk::operations {

struct LinearSizes {
  int64_t N, I, O;
};

// `x` [N, I] and `w` [O, I] are the input and the weight, or their gradients.
inline LinearSizes linear_sizes(const Tensor& x, const Tensor& w) { return {x.extent(0), x.extent(1), w.extent(0)}; }

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

// dw (+)= dy^T x
template <typename S>
void linear_backward_weight(const LinearSizes& s, const S* dy, const S* x, S* dw, Write write) {
  if (write == Write::kSet) std::fill_n(dw, s.O * s.I, S{});
  for (int64_t n = 0; n < s.N; ++n)
    for (int64_t o = 0; o < s.O; ++o)
      for (int64_t i = 0; i < s.I; ++i) dw[o * s.I + i] += dy[n * s.O + o] * x[n * s.I + i];
}

}  // namespace ropewalk::operations

// SwiGLU (Shazeer, arXiv 2002.05202): h = silu(gate) * up,  silu(g) = g / (1 + exp(-g)).
#pragma once

#include "kernels/operations/scalar.h"

namespace ropewalk::operations {

template <typename S>
void swiglu_forward(int64_t count, const S* gate, const S* up, S* h) {
  using std::exp;
  for (int64_t i = 0; i < count; ++i) h[i] = gate[i] / (S(1) + exp(-gate[i])) * up[i];
}

// dgate = dh * up * silu'(gate),  dup = dh * silu(gate),  silu'(g) = s * (1 + g * (1 - s)) with s = 1 / (1 + exp(-g))
template <typename S>
void swiglu_backward(int64_t count, const S* dh, const S* gate, const S* up, S* dgate, S* dup) {
  using std::exp;
  for (int64_t i = 0; i < count; ++i) {
    const S g = gate[i], u = up[i], s = S(1) / (S(1) + exp(-g));
    dgate[i] = dh[i] * u * s * (S(1) + g * (S(1) - s));
    dup[i] = dh[i] * g * s;
  }
}

}  // namespace ropewalk::operations

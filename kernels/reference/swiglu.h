// SwiGLU (Shazeer, arXiv 2002.05202): h = silu(gate) * up,  silu(g) = g / (1 + exp(-g)).
#pragma once

#include "kernels/reference/scalar.h"

namespace ropewalk::reference {

inline void swiglu_check(const Kernels& kernels, const Tensor& gate, std::initializer_list<Tensor> others) {
  check_rank("swiglu: gate", gate, 2);
  check_operand(kernels, "swiglu: gate", gate, kernels.dtype(), gate.shape());
  for (const Tensor& other : others) check_operand(kernels, "swiglu", other, kernels.dtype(), gate.shape());
}

inline int64_t swiglu_forward_count(const Kernels& kernels, const Tensor& gate, const Tensor& up, const Tensor& h) {
  swiglu_check(kernels, gate, {up, h});
  check_apart("swiglu_forward: h", h, {gate, up});
  return gate.elements();
}

inline int64_t swiglu_backward_count(const Kernels& kernels, const Tensor& dh, const Tensor& gate, const Tensor& up,
                                     const Tensor& dgate, const Tensor& dup) {
  swiglu_check(kernels, gate, {dh, up, dgate, dup});
  check_apart("swiglu_backward: dgate", dgate, {gate}, InPlace::kAllowed);
  check_apart("swiglu_backward: dgate", dgate, {dh, up, dup});
  check_apart("swiglu_backward: dup", dup, {up}, InPlace::kAllowed);
  check_apart("swiglu_backward: dup", dup, {dh, gate});
  return gate.elements();
}

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

}  // namespace ropewalk::reference

// SwiGLU: h = silu(gate) * up.
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/streaming.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/swiglu.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

// s = sigmoid(g) and 1 - s, for gates of type E.
struct Sigmoid {
  FloatVector s, rest;
};
HWY_INLINE Sigmoid sigmoid(FloatVector g, float) {
  const FloatVector one = hn::Set(Floats(), 1.0f), s = hn::Div(one, hn::Add(one, exp_of(hn::Neg(g))));
  return {s, hn::Sub(one, s)};
}
// To about 11 bits, of which bf16 keeps 8: e^-g is good to 17 bits, its reciprocal to 11 (14 with AVX-512). With e^-g =
// infinity, s is 0. 1 - s = e^-g s keeps its precision where s is near 1; it does not matter where s is below 2^-64.
HWY_INLINE Sigmoid sigmoid(FloatVector g, BFloat16) {
  const Floats d;
  const FloatVector x = at_most(128.0f, at_least(-127.0f, hn::Mul(g, hn::Set(d, -1.44269502f))));  // log2(e)
  const Power near = power_of_rounded(hn::Add(x, hn::Set(d, kShift)));
  const FloatVector fraction = hn::Sub(x, near.whole);
  FloatVector p = hn::Set(d, 0.00978291221f);  // the minimax fit of degree 4 to 2^fraction with value 1 at 0
  p = hn::MulAdd(p, fraction, hn::Set(d, 0.0559768826f));
  p = hn::MulAdd(p, fraction, hn::Set(d, 0.240207106f));
  p = hn::MulAdd(p, fraction, hn::Set(d, 0.693113625f));
  p = hn::MulAdd(p, fraction, hn::Set(d, 1.0f));
  const FloatVector power = hn::Mul(p, near.power);
  const FloatVector s = hn::ApproximateReciprocal(hn::Add(power, hn::Set(d, 1.0f)));
  return {s, hn::Mul(at_most(0x1p64f, power), s)};
}

void swiglu_forward_loop(const Tensor& gate, const Tensor& up, const Tensor& h) {
  by_element(h.dtype(), [&](auto element) HWY_ATTR {
    using E = decltype(element);
    const E *gates = gate.data<E>(), *ups = up.data<E>();
    E* out = h.data<E>();
    by_way(worth_streaming(h, {&gate, &up}), [&](auto way) HWY_ATTR {
      transform(h.elements(), out, way, [&](int64_t i, auto some) HWY_ATTR {
        prefetch_ahead(gates + i, some), prefetch_ahead(ups + i, some);
        const FloatVector g = load(gates + i, some);
        return hn::Mul(hn::Mul(g, sigmoid(g, element).s), load(ups + i, some));
      });
    });
  });
}

// dgate may be gate, dup may be up: each vector is loaded before it is stored.
void swiglu_backward_loop(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                          const Tensor& dup) {
  const FloatVector one = hn::Set(Floats(), 1.0f);
  by_element(dh.dtype(), [&](auto element) HWY_ATTR {
    using E = decltype(element);
    const E *dhs = dh.data<E>(), *gates = gate.data<E>(), *ups = up.data<E>();
    E *dgates = dgate.data<E>(), *dups = dup.data<E>();
    transform(dh.elements(), dgates, dups, [&](int64_t i, auto some) HWY_ATTR {
      prefetch_ahead(dhs + i, some), prefetch_ahead(gates + i, some), prefetch_ahead(ups + i, some);
      const FloatVector dh_i = load(dhs + i, some), g = load(gates + i, some), u = load(ups + i, some);
      const auto [s, rest] = sigmoid(g, element);
      const FloatVector dh_s = hn::Mul(dh_i, s);
      const FloatVector slope = hn::MulAdd(g, rest, one);  // silu'(g) = s * slope
      return Two{hn::Mul(hn::Mul(dh_s, u), slope), hn::Mul(dh_s, g)};
    });
  });
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(swiglu_forward_loop);
HWY_EXPORT(swiglu_backward_loop);

void CpuBackend::swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h) {
  HWY_DYNAMIC_DISPATCH(swiglu_forward_loop)(gate, up, h);
}

void CpuBackend::swiglu_backward(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                                 const Tensor& dup) {
  HWY_DYNAMIC_DISPATCH(swiglu_backward_loop)(dh, gate, up, dgate, dup);
}

}  // namespace ropewalk
#endif

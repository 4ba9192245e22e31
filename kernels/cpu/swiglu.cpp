// SwiGLU: h = silu(gate) * up.
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/streaming.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/swiglu.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

HWY_INLINE FloatVector sigmoid(FloatVector x) {
  const FloatVector one = hn::Set(Floats(), 1.0f);
  return hn::Div(one, hn::Add(one, exp_of(hn::Neg(x))));
}

void swiglu_forward_loop(const Tensor& gate, const Tensor& up, const Tensor& h) {
  by_element(h.dtype(), [&](auto element) HWY_ATTR {
    using E = decltype(element);
    const E *gates = gate.data<E>(), *ups = up.data<E>();
    E* out = h.data<E>();
    by_way(worth_streaming(h, {&gate, &up}), [&](auto way) HWY_ATTR {
      for_each_vector(h.elements(), [&](int64_t i, auto some) HWY_ATTR {
        prefetch_ahead(gates + i), prefetch_ahead(ups + i);
        const FloatVector g = load(gates + i, some);
        store(hn::Mul(hn::Mul(g, sigmoid(g)), load(ups + i, some)), out + i, some, way);
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
    for_each_vector(dh.elements(), [&](int64_t i, auto some) HWY_ATTR {
      prefetch_ahead(dhs + i), prefetch_ahead(gates + i), prefetch_ahead(ups + i);
      const FloatVector dh_i = load(dhs + i, some), g = load(gates + i, some), u = load(ups + i, some);
      const FloatVector s = sigmoid(g), dh_s = hn::Mul(dh_i, s);
      const FloatVector slope = hn::MulAdd(g, hn::Sub(one, s), one);  // silu'(g) = s * slope
      store(hn::Mul(hn::Mul(dh_s, u), slope), dgates + i, some);
      store(hn::Mul(dh_s, g), dups + i, some);
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

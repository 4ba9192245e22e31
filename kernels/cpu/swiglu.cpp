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

void swiglu_forward_loop(int64_t count, const float* gate, const float* up, float* h, bool streamed) {
  by_way(streamed, [&](auto way) HWY_ATTR {
    for_each_vector(count, [&](int64_t i, auto some) HWY_ATTR {
      prefetch(gate + i + kAhead), prefetch(up + i + kAhead);
      const FloatVector g = load(gate + i, some);
      store(hn::Mul(hn::Mul(g, sigmoid(g)), load(up + i, some)), h + i, some, way);
    });
  });
}

// dgate may be gate, dup may be up: each vector is loaded before it is stored.
void swiglu_backward_loop(int64_t count, const float* dh, const float* gate, const float* up, float* dgate,
                          float* dup) {
  const FloatVector one = hn::Set(Floats(), 1.0f);
  for_each_vector(count, [&](int64_t i, auto some) HWY_ATTR {
    prefetch(dh + i + kAhead), prefetch(gate + i + kAhead), prefetch(up + i + kAhead);
    const FloatVector dh_i = load(dh + i, some), g = load(gate + i, some), u = load(up + i, some);
    const FloatVector s = sigmoid(g), dh_s = hn::Mul(dh_i, s);
    const FloatVector slope = hn::MulAdd(g, hn::Sub(one, s), one);  // silu'(g) = s * slope
    store(hn::Mul(hn::Mul(dh_s, u), slope), dgate + i, some);
    store(hn::Mul(dh_s, g), dup + i, some);
  });
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(swiglu_forward_loop);
HWY_EXPORT(swiglu_backward_loop);

void CpuBackend::swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h) {
  if (!wide()) return Backend::swiglu_forward(gate, up, h);
  HWY_DYNAMIC_DISPATCH(swiglu_forward_loop)
  (h.elements(), gate.data<float>(), up.data<float>(), h.data<float>(), worth_streaming(h, {&gate, &up}));
}

void CpuBackend::swiglu_backward(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                                 const Tensor& dup) {
  if (!wide()) return Backend::swiglu_backward(dh, gate, up, dgate, dup);
  HWY_DYNAMIC_DISPATCH(swiglu_backward_loop)
  (gate.elements(), dh.data<float>(), gate.data<float>(), up.data<float>(), dgate.data<float>(), dup.data<float>());
}

}  // namespace ropewalk
#endif

// AdamW: one pass over weights, gradients and both moments, which also writes the weights in bf16.
#include "kernels/operations/adamw.h"

#include "kernels/cpu/cpu_backend.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/adamw.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

void adamw_loop(int64_t count, float* w, const float* g, float* m, float* v, BFloat16* narrow_w,
                const AdamWStep& step) {
  const auto constant = [](double value) HWY_ATTR { return hn::Set(Floats(), static_cast<float>(value)); };
  const operations::AdamWFactors correct(step);
  const FloatVector gradient_scale = constant(step.gradient_scale), epsilon = constant(step.epsilon);
  const FloatVector beta1 = constant(step.beta1), rest1 = constant(1 - step.beta1), first = constant(correct.first);
  const FloatVector beta2 = constant(step.beta2), rest2 = constant(1 - step.beta2), second = constant(correct.second);
  const FloatVector rate = constant(step.rate), decay = constant(step.weight_decay);
  for_each_vector(count, [&](int64_t i, auto some) HWY_ATTR {
    prefetch_ahead(w + i, some), prefetch_ahead(g + i, some), prefetch_ahead(m + i, some), prefetch_ahead(v + i, some);
    const FloatVector weight = load(w + i, some), gradient = hn::Mul(gradient_scale, load(g + i, some));
    const FloatVector mean = hn::MulAdd(beta1, load(m + i, some), hn::Mul(rest1, gradient));
    const FloatVector square = hn::MulAdd(beta2, load(v + i, some), hn::Mul(hn::Mul(rest2, gradient), gradient));
    const FloatVector step_size = hn::Add(hn::Sqrt(hn::Mul(second, square)), epsilon);
    const FloatVector change = hn::MulAdd(decay, weight, hn::Div(hn::Mul(first, mean), step_size));
    store(mean, m + i, some);
    store(square, v + i, some);
    const FloatVector updated = hn::NegMulAdd(rate, change, weight);
    store(updated, w + i, some);
    if (narrow_w) store(updated, narrow_w + i, some);
  });
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(adamw_loop);

void CpuBackend::adamw(const Tensor& w, const Tensor& g, const Tensor& m, const Tensor& v, const Tensor& narrow,
                       const AdamWStep& step) {
  HWY_DYNAMIC_DISPATCH(adamw_loop)
  (w.elements(), w.data<float>(), g.data<float>(), m.data<float>(), v.data<float>(),
   narrow.empty() ? nullptr : narrow.data<BFloat16>(), step);
}

}  // namespace ropewalk
#endif

// Cross-entropy over a split vocabulary. A row of logits is read from memory once: the second pass finds it in the
// cache.
#include "kernels/operations/cross_entropy.h"

#include "kernels/cpu/cpu_backend.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/cross_entropy.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

// row_max = max_v factor * l_v,  row_sum = sum_v exp(factor * l_v - row_max);  V > 0
void softmax_row_sums(int64_t V, const float* logits, float factor, float* row_max, float* row_sum) {
  const FloatVector by = hn::Set(Floats(), factor);
  const auto scaled = [&](int64_t v, auto some) HWY_ATTR { return hn::Mul(by, load(logits + v, some)); };
  *row_max = max_of(V, scaled);
  const FloatVector largest = hn::Set(Floats(), *row_max);
  *row_sum = sum_of(V, [&](int64_t v, auto some) HWY_ATTR { return exp_of(hn::Sub(scaled(v, some), largest)); });
}

// logits = exp(factor * l_v - log_sum) * outer
void softmax_row_gradient(int64_t V, float* logits, float factor, float log_sum, float outer) {
  const FloatVector by = hn::Set(Floats(), factor), all = hn::Set(Floats(), log_sum), end = hn::Set(Floats(), outer);
  for_each_vector(V, [&](int64_t v, auto some) HWY_ATTR {
    const FloatVector p = exp_of(hn::Sub(hn::Mul(by, load(logits + v, some)), all));
    store(hn::Mul(p, end), logits + v, some);
  });
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(softmax_row_sums);
HWY_EXPORT(softmax_row_gradient);

void CpuBackend::cross_entropy_partials(const Tensor& logits, const Tensor& targets, int64_t v_begin,
                                        double logit_scale, const Tensor& partials) {
  if (!wide()) return Backend::cross_entropy_partials(logits, targets, v_begin, logit_scale, partials);
  const auto s = operations::cross_entropy_sizes(logits);
  const float factor = static_cast<float>(logit_scale);
  for (int64_t n = 0; n < s.N; ++n) {
    const float* row = logits.data<float>() + n * s.V;
    float* out = partials.data<float>() + 3 * n;
    out[0] = operations::minus_infinity<float>();
    out[1] = 0;
    if (s.V > 0) HWY_DYNAMIC_DISPATCH(softmax_row_sums)(s.V, row, factor, out, out + 1);
    const auto target = operations::target_column(s, targets.data<int32_t>()[n], v_begin);
    out[2] = target ? factor * row[*target] : 0;
  }
}

void CpuBackend::cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                                        int64_t v_begin, double logit_scale, double loss_scale) {
  if (!wide()) return Backend::cross_entropy_backward(logits, targets, log_sum, v_begin, logit_scale, loss_scale);
  const auto s = operations::cross_entropy_sizes(logits);
  const float factor = static_cast<float>(logit_scale), outer = static_cast<float>(logit_scale * loss_scale);
  for (int64_t n = 0; n < s.N; ++n) {
    float* row = logits.data<float>() + n * s.V;
    if (targets.data<int32_t>()[n] == -1) {
      std::fill_n(row, s.V, 0.0f);
      continue;
    }
    HWY_DYNAMIC_DISPATCH(softmax_row_gradient)(s.V, row, factor, log_sum.data<float>()[n], outer);
    if (const auto target = operations::target_column(s, targets.data<int32_t>()[n], v_begin)) row[*target] -= outer;
  }
}

}  // namespace ropewalk
#endif

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
template <class E>
HWY_INLINE void softmax_row_sums(int64_t V, const E* logits, float factor, float* row_max, float* row_sum) {
  const FloatVector by = hn::Set(Floats(), factor);
  const auto scaled = [&](int64_t v, auto some) HWY_ATTR { return hn::Mul(by, load(logits + v, some)); };
  *row_max = max_of<E>(V, scaled);
  const FloatVector largest = hn::Set(Floats(), *row_max);
  *row_sum = sum_of<E>(V, [&](int64_t v, auto some) HWY_ATTR { return exp_of(hn::Sub(scaled(v, some), largest)); });
}

void cross_entropy_partials_loop(const Tensor& logits, const int32_t* targets, int64_t v_begin, float factor,
                                 float* partials) {
  const auto s = operations::cross_entropy_sizes(logits);
  by_element(logits.dtype(), [&](auto element) HWY_ATTR {
    using E = decltype(element);
    for (int64_t n = 0; n < s.N; ++n) {
      const E* row = logits.data<E>() + n * s.V;
      float* out = partials + 3 * n;
      out[0] = operations::minus_infinity<float>();
      out[1] = 0;
      if (s.V > 0) softmax_row_sums(s.V, row, factor, out, out + 1);
      const auto target = operations::target_column(s, targets[n], v_begin);
      out[2] = target ? factor * static_cast<float>(row[*target]) : 0;
    }
  });
}

// logits = (exp(factor * l_v - log_sum) - [v = target]) * outer
template <class E>
HWY_INLINE void softmax_row_gradient(int64_t V, std::optional<int64_t> target, float factor, float log_sum, float outer,
                                     E* logits) {
  const FloatVector by = hn::Set(Floats(), factor), all = hn::Set(Floats(), log_sum), end = hn::Set(Floats(), outer);
  const auto weighted = [&](FloatVector logit)
                            HWY_ATTR { return hn::Mul(exp_of(hn::Sub(hn::Mul(by, logit), all)), end); };
  // Apart from the others, because their results are rounded before one could be subtracted.
  const float logit = target ? static_cast<float>(logits[*target]) : 0;
  const float at_target = hn::GetLane(weighted(hn::Set(Floats(), logit))) - outer;
  transform(V, logits, Cached{}, [&](int64_t v, auto some) HWY_ATTR { return weighted(load(logits + v, some)); });
  if (target) logits[*target] = static_cast<E>(at_target);
}

void cross_entropy_backward_loop(const Tensor& logits, const int32_t* targets, const float* log_sum, int64_t v_begin,
                                 float factor, float outer) {
  const auto s = operations::cross_entropy_sizes(logits);
  by_element(logits.dtype(), [&](auto element) HWY_ATTR {
    using E = decltype(element);
    for (int64_t n = 0; n < s.N; ++n) {
      E* row = logits.data<E>() + n * s.V;
      const auto target = operations::target_column(s, targets[n], v_begin);
      if (targets[n] == -1)
        std::fill_n(row, s.V, E{});
      else
        softmax_row_gradient(s.V, target, factor, log_sum[n], outer, row);
    }
  });
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(cross_entropy_partials_loop);
HWY_EXPORT(cross_entropy_backward_loop);

void CpuBackend::cross_entropy_partials(const Tensor& logits, const Tensor& targets, int64_t v_begin,
                                        double logit_scale, const Tensor& partials) {
  HWY_DYNAMIC_DISPATCH(cross_entropy_partials_loop)
  (logits, targets.data<int32_t>(), v_begin, static_cast<float>(logit_scale), partials.data<float>());
}

void CpuBackend::cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                                        int64_t v_begin, double logit_scale, double loss_scale) {
  HWY_DYNAMIC_DISPATCH(cross_entropy_backward_loop)
  (logits, targets.data<int32_t>(), log_sum.data<float>(), v_begin, static_cast<float>(logit_scale),
   static_cast<float>(logit_scale * loss_scale));
}

}  // namespace ropewalk
#endif

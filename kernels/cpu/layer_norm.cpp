// Layer norm without bias. A row is read from memory once: the later passes find it in the cache, and prefetch the next
// row so that memory does not idle.
#include "kernels/operations/layer_norm.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/streaming.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/layer_norm.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

template <class E, class Way>
HWY_INLINE void norm_rows(const operations::LayerNormSizes& s, const E* x, const E* w, double epsilon, E* y,
                          float* mean, float* rstd, Way way) {
  for (int64_t n = 0; n < s.N; ++n) {
    const E *row = x + n * s.D, *weight = w + n % s.M * s.D;
    E* out = y + n * s.D;
    const float sum = sum_of(s.D, [&](int64_t d, auto some) HWY_ATTR { return load(row + d, some); });
    mean[n] = sum / static_cast<float>(s.D);
    const FloatVector center = hn::Set(Floats(), mean[n]);
    const float squares = sum_of(s.D, [&](int64_t d, auto some) HWY_ATTR {
      const FloatVector off = hn::Sub(load(row + d, some), center);
      return hn::Mul(off, off);
    });
    rstd[n] = 1 / std::sqrt(squares / static_cast<float>(s.D) + static_cast<float>(epsilon));
    const FloatVector spread = hn::Set(Floats(), rstd[n]);
    for_each_vector(s.D, [&](int64_t d, auto some) HWY_ATTR {
      prefetch(row + s.D + d);
      const FloatVector xhat = hn::Mul(hn::Sub(load(row + d, some), center), spread);
      store(hn::Mul(xhat, load(weight + d, some)), out + d, some, way);
    });
  }
}

void layer_norm_forward_loop(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y, float* mean,
                             float* rstd) {
  by_element(x.dtype(), [&](auto element) HWY_ATTR {
    using E = decltype(element);
    by_way(worth_streaming(y, {&x}), [&](auto way) HWY_ATTR {
      norm_rows(operations::layer_norm_sizes(x, w), x.data<E>(), w.data<E>(), epsilon, y.data<E>(), mean, rstd, way);
    });
  });
}

// through: null if absent
template <class E, class Way>
HWY_INLINE void norm_rows_backward(const operations::LayerNormSizes& s, const E* dy, const E* x, const E* w,
                                   const float* mean, const float* rstd, const E* through, E* dx, float* dw, Way way) {
  for (int64_t n = 0; n < s.N; ++n) {
    const E *dy_row = dy + n * s.D, *row = x + n * s.D, *weight = w + n % s.M * s.D;
    const FloatVector center = hn::Set(Floats(), mean[n]), spread = hn::Set(Floats(), rstd[n]);
    const auto xhat_at = [&](int64_t d, auto some)
                             HWY_ATTR { return hn::Mul(hn::Sub(load(row + d, some), center), spread); };
    const auto g_at = [&](int64_t d, auto some)
                          HWY_ATTR { return hn::Mul(load(dy_row + d, some), load(weight + d, some)); };
    float* dw_row = dw + n % s.M * s.D;
    FloatVector sum_g = hn::Zero(Floats()), sum_g_xhat = sum_g;
    for_each_vector(s.D, [&](int64_t d, auto some) HWY_ATTR {
      prefetch(dy_row + s.D + d);
      prefetch(row + s.D + d);
      const FloatVector xhat = xhat_at(d, some), g = g_at(d, some);  // g is 0 beyond the row
      store(hn::MulAdd(load(dy_row + d, some), xhat, load(dw_row + d, some)), dw_row + d, some);
      sum_g = hn::Add(g, sum_g);
      sum_g_xhat = hn::MulAdd(g, xhat, sum_g_xhat);
    });
    const auto mean_of = [&](FloatVector sum) HWY_ATTR {
      return hn::Set(Floats(), hn::GetLane(hn::SumOfLanes(Floats(), sum)) / static_cast<float>(s.D));
    };
    const FloatVector mean_g = mean_of(sum_g), mean_g_xhat = mean_of(sum_g_xhat);
    for_each_vector(s.D, [&](int64_t d, auto some) HWY_ATTR {
      if (through) prefetch(through + (n + 1) * s.D + d);
      const FloatVector inner = hn::NegMulAdd(xhat_at(d, some), mean_g_xhat, hn::Sub(g_at(d, some), mean_g));
      const FloatVector residual = through ? load(through + n * s.D + d, some) : hn::Zero(Floats());
      store(hn::MulAdd(spread, inner, residual), dx + n * s.D + d, some, way);
    });
  }
}

void layer_norm_backward_loop(const Tensor& dy, const Tensor& x, const Tensor& w, const float* mean, const float* rstd,
                              const Tensor& through, const Tensor& dx, float* dw) {
  by_element(x.dtype(), [&](auto element) HWY_ATTR {
    using E = decltype(element);
    by_way(worth_streaming(dx, {&dy, &x, &through}), [&](auto way) HWY_ATTR {
      norm_rows_backward(operations::layer_norm_sizes(x, w), dy.data<E>(), x.data<E>(), w.data<E>(), mean, rstd,
                         through.empty() ? nullptr : through.data<E>(), dx.data<E>(), dw, way);
    });
  });
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(layer_norm_forward_loop);
HWY_EXPORT(layer_norm_backward_loop);

void CpuBackend::layer_norm_forward(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y,
                                    const Tensor& mean, const Tensor& rstd) {
  HWY_DYNAMIC_DISPATCH(layer_norm_forward_loop)(x, w, epsilon, y, mean.data<float>(), rstd.data<float>());
}

void CpuBackend::layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                                     const Tensor& rstd, const Tensor& through, const Tensor& dx, const Tensor& dw,
                                     Write write) {
  if (write == Write::kSet) fill(dw, 0);
  HWY_DYNAMIC_DISPATCH(layer_norm_backward_loop)
  (dy, x, w, mean.data<float>(), rstd.data<float>(), through, dx, dw.data<float>());
}

}  // namespace ropewalk
#endif

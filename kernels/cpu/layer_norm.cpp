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

// Rows [rows, D] in fp32, as load_kept finds them: in bf16, widened once into `buffer`.
HWY_INLINE const float* widened(int64_t, int64_t, const float* x, float*) { return x; }
HWY_INLINE const float* widened(int64_t rows, int64_t D, const BFloat16* x, float* buffer) {
  for (int64_t row = 0; row < rows; ++row)
    for_each_vector_of<BFloat16>(
        D, [&](int64_t d, auto some) HWY_ATTR { store_kept(load(x + row * D + d, some), buffer + row * D + d, some); });
  return buffer;
}

template <class E, class Way>
HWY_INLINE void norm_rows(const operations::LayerNormSizes& s, const E* x, const E* w, double epsilon, E* y,
                          float* mean, float* rstd, float* buffer, Way way) {
  const float* weights = widened(s.M, s.D, w, buffer + s.D);
  for (int64_t n = 0; n < s.N; ++n) {
    const float *row = widened(1, s.D, x + n * s.D, buffer), *weight = weights + n % s.M * s.D;
    const float sum = sum_of(s.D, [&](int64_t d, auto some) HWY_ATTR { return load(row + d, some); });
    mean[n] = sum / static_cast<float>(s.D);
    const FloatVector center = hn::Set(Floats(), mean[n]);
    const float squares = sum_of(s.D, [&](int64_t d, auto some) HWY_ATTR {
      const FloatVector off = hn::Sub(load(row + d, some), center);
      return hn::Mul(off, off);
    });
    rstd[n] = 1 / std::sqrt(squares / static_cast<float>(s.D) + static_cast<float>(epsilon));
    const FloatVector spread = hn::Set(Floats(), rstd[n]);
    transform(s.D, y + n * s.D, way, [&](int64_t d, auto some) HWY_ATTR {
      prefetch_ahead(x + n * s.D + d, some);
      const FloatVector xhat = hn::Mul(hn::Sub(load_kept(row + d, some), center), spread);
      return hn::Mul(xhat, load_kept(weight + d, some));
    });
  }
}

// buffer [1 + M, D]
void layer_norm_forward_loop(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y, float* mean,
                             float* rstd, float* buffer) {
  by_element(x.dtype(), [&](auto element) HWY_ATTR {
    using E = decltype(element);
    by_way(worth_streaming(y, {&x}), [&](auto way) HWY_ATTR {
      norm_rows(operations::layer_norm_sizes(x, w), x.data<E>(), w.data<E>(), epsilon, y.data<E>(), mean, rstd, buffer,
                way);
    });
  });
}

// The gradient of the weights [M, D] is summed as load_kept finds it: in bf16 in a buffer, which is added to dw at the
// end.
HWY_INLINE float* kept_sums(int64_t, const float*, float* dw, float*) { return dw; }
HWY_INLINE float* kept_sums(int64_t count, const BFloat16*, float*, float* buffer) {
  std::fill_n(buffer, count, 0.0f);
  return buffer;
}
HWY_INLINE void add_kept_sums(int64_t, int64_t, const float*, const float*, float*) {}
HWY_INLINE void add_kept_sums(int64_t rows, int64_t D, const BFloat16*, const float* sums, float* dw) {
  for (int64_t row = 0; row < rows; ++row, sums += D, dw += D) {
    int64_t d = 0;
    for (const int64_t step = 2 * lanes(); d + step <= D; d += step) {
      FloatVector even, odd;
      hn::LoadInterleaved2(Floats(), dw + d, even, odd);
      even = hn::Add(even, load_kept(sums + d, EvenLanes{})), odd = hn::Add(odd, load_kept(sums + d, OddLanes{}));
      hn::StoreInterleaved2(even, odd, Floats(), dw + d);
    }
    for_each_vector(D - d, [&](int64_t i, auto some) HWY_ATTR {
      store(hn::Add(load(dw + d + i, some), load(sums + d + i, some)), dw + d + i, some);
    });
  }
}

// through: null if absent; buffer [2 + 2 M, D]
template <class E, class Way>
HWY_INLINE void norm_rows_backward(const operations::LayerNormSizes& s, const E* dy, const E* x, const E* w,
                                   const float* mean, const float* rstd, const E* through, E* dx, float* dw,
                                   float* buffer, Way way) {
  float *xhats = buffer, *gs = buffer + s.D;  // of one row
  const float* weights = widened(s.M, s.D, w, buffer + 2 * s.D);
  float* sums = kept_sums(s.M * s.D, w, dw, buffer + (2 + s.M) * s.D);
  for (int64_t n = 0; n < s.N; ++n) {
    const E *dy_row = dy + n * s.D, *row = x + n * s.D;
    const float* weight = weights + n % s.M * s.D;
    const FloatVector center = hn::Set(Floats(), mean[n]), spread = hn::Set(Floats(), rstd[n]);
    float* dw_row = sums + n % s.M * s.D;
    FloatVector sum_g = hn::Zero(Floats()), sum_g_xhat = sum_g;
    for_each_vector_of<E>(s.D, [&](int64_t d, auto some) HWY_ATTR {
      prefetch_ahead(dy_row + d, some), prefetch_ahead(row + d, some);
      const FloatVector dy_d = load(dy_row + d, some);
      const FloatVector xhat = hn::Mul(hn::Sub(load(row + d, some), center), spread);
      const FloatVector g = hn::Mul(dy_d, load_kept(weight + d, some));  // 0 beyond the row
      store_kept(hn::MulAdd(dy_d, xhat, load_kept(dw_row + d, some)), dw_row + d, some);
      store_kept(xhat, xhats + d, some), store_kept(g, gs + d, some);
      sum_g = hn::Add(g, sum_g);
      sum_g_xhat = hn::MulAdd(g, xhat, sum_g_xhat);
    });
    const auto mean_of = [&](FloatVector sum) HWY_ATTR {
      return hn::Set(Floats(), hn::GetLane(hn::SumOfLanes(Floats(), sum)) / static_cast<float>(s.D));
    };
    const FloatVector mean_g = mean_of(sum_g), mean_g_xhat = mean_of(sum_g_xhat);
    transform(s.D, dx + n * s.D, way, [&](int64_t d, auto some) HWY_ATTR {
      if (through) prefetch_ahead(through + n * s.D + d, some);
      const FloatVector off = hn::Sub(load_kept(gs + d, some), mean_g);
      const FloatVector inner = hn::NegMulAdd(load_kept(xhats + d, some), mean_g_xhat, off);
      const FloatVector residual = through ? load(through + n * s.D + d, some) : hn::Zero(Floats());
      return hn::MulAdd(spread, inner, residual);
    });
  }
  add_kept_sums(s.M, s.D, w, sums, dw);
}

void layer_norm_backward_loop(const Tensor& dy, const Tensor& x, const Tensor& w, const float* mean, const float* rstd,
                              const Tensor& through, const Tensor& dx, float* dw, float* buffer) {
  by_element(x.dtype(), [&](auto element) HWY_ATTR {
    using E = decltype(element);
    by_way(worth_streaming(dx, {&dy, &x, &through}), [&](auto way) HWY_ATTR {
      norm_rows_backward(operations::layer_norm_sizes(x, w), dy.data<E>(), x.data<E>(), w.data<E>(), mean, rstd,
                         through.empty() ? nullptr : through.data<E>(), dx.data<E>(), dw, buffer, way);
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
  const auto s = operations::layer_norm_sizes(x, w);
  scratch_.reserve({(1 + s.M) * s.D});
  HWY_DYNAMIC_DISPATCH(layer_norm_forward_loop)
  (x, w, epsilon, y, mean.data<float>(), rstd.data<float>(), scratch_.take((1 + s.M) * s.D));
}

void CpuBackend::layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                                     const Tensor& rstd, const Tensor& through, const Tensor& dx, const Tensor& dw,
                                     Write write) {
  const auto s = operations::layer_norm_sizes(x, w);
  scratch_.reserve({(2 + 2 * s.M) * s.D});
  if (write == Write::kSet) fill(dw, 0);
  HWY_DYNAMIC_DISPATCH(layer_norm_backward_loop)
  (dy, x, w, mean.data<float>(), rstd.data<float>(), through, dx, dw.data<float>(), scratch_.take((2 + 2 * s.M) * s.D));
}

}  // namespace ropewalk
#endif

// RoPE in place, with cosines and sines from RotationTables.
#include "kernels/operations/rotate.h"

#include "kernels/cpu/cpu_backend.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rotate.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

HWY_INLINE void load_pairs(const float* from, FloatVector& a, FloatVector& b, AllLanes) {
  hn::LoadInterleaved2(Floats(), from, a, b);
}
HWY_INLINE void load_pairs(const float* from, FloatVector& a, FloatVector& b, FirstLanes some) {
  HWY_ALIGN float buffer[2 * hn::MaxLanes(Floats())] = {};
  std::memcpy(buffer, from, static_cast<size_t>(2 * some.n) * sizeof(float));
  hn::LoadInterleaved2(Floats(), buffer, a, b);
}
HWY_INLINE void store_pairs(FloatVector a, FloatVector b, float* to, AllLanes) {
  hn::StoreInterleaved2(a, b, Floats(), to);
}
HWY_INLINE void store_pairs(FloatVector a, FloatVector b, float* to, FirstLanes some) {
  HWY_ALIGN float buffer[2 * hn::MaxLanes(Floats())];
  hn::StoreInterleaved2(a, b, Floats(), buffer);
  std::memcpy(to, buffer, static_cast<size_t>(2 * some.n) * sizeof(float));
}

// x [H, K] at one position, whose table row holds K/2 cosines and K/2 sines.
void rotate_row(int64_t H, int64_t K, const float* table, float sign, float* x) {
  const FloatVector direction = hn::Set(Floats(), sign);
  for (int64_t h = 0; h < H; ++h) {
    for_each_vector(K / 2, [&](int64_t k, auto some) HWY_ATTR {
      float* pairs = x + h * K + 2 * k;
      prefetch(pairs + kAhead);
      prefetch(pairs + kAhead + lanes());
      const FloatVector cosine = load(table + k, some), sine = hn::Mul(direction, load(table + K / 2 + k, some));
      FloatVector a, b;
      load_pairs(pairs, a, b, some);
      const FloatVector turned_a = hn::NegMulAdd(b, sine, hn::Mul(a, cosine));
      const FloatVector turned_b = hn::MulAdd(a, sine, hn::Mul(b, cosine));
      store_pairs(turned_a, turned_b, pairs, some);
    });
  }
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(rotate_row);

void CpuBackend::rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction) {
  if (x.dtype() != DType::kF32) return Backend::rotate(x, first_position, theta, direction);
  const auto [T, H, K] = operations::rotate_sizes(x);
  const float sign = direction == Rotation::kForward ? 1 : -1;
  for (int64_t t = 0; t < T; ++t) HWY_DYNAMIC_DISPATCH(rotate_row)
  (H, K, rotations_.at(first_position + t, K, theta), sign, x.data<float>() + t * H * K);
}

}  // namespace ropewalk
#endif

// RoPE in place, with cosines and sines from RotationTables.
#include "kernels/operations/rotate.h"

#include "kernels/cpu/cpu_backend.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rotate.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

// Pairs (a, b) of adjacent elements.
HWY_INLINE void load_interleaved(const float* from, FloatVector& a, FloatVector& b, AllLanes) {
  hn::LoadInterleaved2(Floats(), from, a, b);
}
HWY_INLINE void load_interleaved(const BFloat16* from, FloatVector& a, FloatVector& b, AllLanes) {
  a = load(from, EvenLanes{}), b = load(from, OddLanes{});
}
template <class E>
HWY_INLINE void load_interleaved(const E* from, FloatVector& a, FloatVector& b, FirstLanes some) {
  HWY_ALIGN E buffer[2 * hn::MaxLanes(Floats())] = {};
  std::memcpy(buffer, from, static_cast<size_t>(2 * some.n) * sizeof(E));
  load_interleaved(buffer, a, b, AllLanes{});
}
HWY_INLINE void store_interleaved(FloatVector a, FloatVector b, float* to, AllLanes) {
  hn::StoreInterleaved2(a, b, Floats(), to);
}
HWY_INLINE void store_interleaved(FloatVector a, FloatVector b, BFloat16* to, AllLanes) {
  store_pairs(a, b, to, Cached{});
}
template <class E>
HWY_INLINE void store_interleaved(FloatVector a, FloatVector b, E* to, FirstLanes some) {
  HWY_ALIGN E buffer[2 * hn::MaxLanes(Floats())];
  store_interleaved(a, b, buffer, AllLanes{});
  std::memcpy(to, buffer, static_cast<size_t>(2 * some.n) * sizeof(E));
}

// x [H, K] at one position, whose table row holds K/2 cosines and K/2 sines.
void rotate_row(const Tensor& x, const float* table, float sign) {
  const int64_t H = x.extent(0), K = x.extent(1);
  const FloatVector direction = hn::Set(Floats(), sign);
  by_element(x.dtype(), [&](auto element) HWY_ATTR {
    auto* row = x.data<decltype(element)>();
    for_each_vector(K / 2, [&](int64_t k, auto some) HWY_ATTR {
      const FloatVector cosine = load(table + k, some), sine = hn::Mul(direction, load(table + K / 2 + k, some));
      for (int64_t h = 0; h < H; ++h) {
        auto* pairs = row + h * K + 2 * k;
        prefetch_ahead(pairs, EvenLanes{}), prefetch_ahead(pairs, OddLanes{});
        FloatVector a, b;
        load_interleaved(pairs, a, b, some);
        const FloatVector turned_a = hn::NegMulAdd(b, sine, hn::Mul(a, cosine));
        const FloatVector turned_b = hn::MulAdd(a, sine, hn::Mul(b, cosine));
        store_interleaved(turned_a, turned_b, pairs, some);
      }
    });
  });
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(rotate_row);

void CpuBackend::rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction) {
  const auto [T, H, K] = operations::rotate_sizes(x);
  const float sign = direction == Rotation::kForward ? 1 : -1;
  for (int64_t t = 0; t < T; ++t) HWY_DYNAMIC_DISPATCH(rotate_row)
  (x.slice(t, t + 1).reshape({H, K}), rotations_.at(first_position + t, K, theta), sign);
}

}  // namespace ropewalk
#endif

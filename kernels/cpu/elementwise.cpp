// Operations on every element, and sums over all of them.
#include "kernels/operations/elementwise.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/streaming.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

void cast_loop(const Tensor& from, const Tensor& to) {
  by_element(from.dtype(), [&](auto source) HWY_ATTR {
    by_element(to.dtype(), [&](auto target) HWY_ATTR {
      const auto* in = from.data<decltype(source)>();
      auto* out = to.data<decltype(target)>();
      by_way(worth_streaming(to, {&from}), [&](auto way) HWY_ATTR {
        transform(to.elements(), out, way, [&](int64_t i, auto some) HWY_ATTR {
          prefetch_ahead(in + i, some);
          return load(in + i, some);
        });
      });
    });
  });
}

void add_loop(const Tensor& a, const Tensor& b, const Tensor& y) {
  by_element(y.dtype(), [&](auto element) HWY_ATTR {
    using E = decltype(element);
    const E *one = a.data<E>(), *other = b.data<E>();
    E* out = y.data<E>();
    by_way(worth_streaming(y, {&a, &b}), [&](auto way) HWY_ATTR {
      transform(y.elements(), out, way, [&](int64_t i, auto some) HWY_ATTR {
        prefetch_ahead(one + i, some), prefetch_ahead(other + i, some);
        return hn::Add(load(one + i, some), load(other + i, some));
      });
    });
  });
}

using Doubles = hn::ScalableTag<double>;
using DoubleVector = hn::Vec<Doubles>;
HWY_INLINE DoubleVector load_as_doubles(const float* from) {
  return hn::PromoteTo(Doubles(), hn::LoadU(hn::Rebind<float, Doubles>(), from));
}
HWY_INLINE DoubleVector load_as_doubles(const BFloat16* from) {
  const hn::Rebind<uint32_t, Doubles> words;
  const auto upper = hn::PromoteTo(words, hn::LoadU(hn::Rebind<uint16_t, Doubles>(), &from->bits));
  return hn::PromoteTo(Doubles(), hn::BitCast(hn::Rebind<float, Doubles>(), hn::ShiftLeft<16>(upper)));
}

// Element i is added to partial sum i mod 16 in fp64, and the partial sums are added in order. So vectors of any width
// give the same bits.
template <class E, class F>
HWY_INLINE double sum_in_fp64(int64_t count, const E* x, F&& value) {
  const Doubles d;
  constexpr int64_t kPartials = 16, kLanes = hn::MaxLanes(Doubles()), kVectors = kPartials / kLanes;
  DoubleVector sums[kVectors];
  for (int64_t j = 0; j < kVectors; ++j) sums[j] = hn::Zero(d);
  int64_t i = 0;
  for (; i + kPartials <= count; i += kPartials) {
    prefetch_ahead<4>(x + i);
    for (int64_t j = 0; j < kVectors; ++j) sums[j] = hn::Add(sums[j], value(load_as_doubles(x + i + j * kLanes)));
  }

  HWY_ALIGN double partials[kPartials];
  for (int64_t j = 0; j < kVectors; ++j) hn::Store(sums[j], d, partials + j * kLanes);
  for (int64_t j = 0; i < count; ++i, ++j)
    partials[j] += hn::GetLane(value(hn::Set(d, static_cast<double>(static_cast<float>(x[i])))));
  double total = 0;
  for (double partial : partials) total += partial;
  return total;
}

template <class F>
HWY_INLINE double sum_in_fp64(const Tensor& x, F&& value) {
  double total = 0;
  by_element(x.dtype(),
             [&](auto element) HWY_ATTR { total = sum_in_fp64(x.elements(), x.data<decltype(element)>(), value); });
  return total;
}

double sum_loop(const Tensor& x) {
  return sum_in_fp64(x, [](auto value) HWY_ATTR { return value; });
}

double sum_of_squares_loop(const Tensor& x) {
  return sum_in_fp64(x, [](auto value) HWY_ATTR { return hn::Mul(value, value); });
}

// The length of a prefix that is finite: it ends before the first whole vector with a NaN or infinity, or with the last
// whole vector.
int64_t finite_prefix(const Tensor& x) {
  const FloatVector largest = hn::Set(Floats(), hwy::HighestValue<float>());
  const int64_t step = lanes(), count = x.elements();
  int64_t i = 0;
  by_element(x.dtype(), [&](auto element) HWY_ATTR {
    const auto* from = x.data<decltype(element)>();
    for (; i + step <= count && hn::AllTrue(Floats(), hn::Le(hn::Abs(load(from + i, AllLanes{})), largest)); i += step)
      prefetch_ahead<4>(from + i);
  });
  return i;
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(cast_loop);
HWY_EXPORT(add_loop);
HWY_EXPORT(sum_loop);
HWY_EXPORT(sum_of_squares_loop);
HWY_EXPORT(finite_prefix);

void CpuBackend::cast(const Tensor& from, const Tensor& to) {
  if (from.dtype() == DType::kF64 || to.dtype() == DType::kF64) return Backend::cast(from, to);
  HWY_DYNAMIC_DISPATCH(cast_loop)(from, to);
}

void CpuBackend::add(const Tensor& a, const Tensor& b, const Tensor& y) {
  if (y.dtype() == DType::kF64) return Backend::add(a, b, y);
  HWY_DYNAMIC_DISPATCH(add_loop)(a, b, y);
}

double CpuBackend::sum(const Tensor& x) {
  if (x.dtype() == DType::kF64) return Backend::sum(x);
  return HWY_DYNAMIC_DISPATCH(sum_loop)(x);
}

double CpuBackend::sum_of_squares(const Tensor& x) {
  if (x.dtype() == DType::kF64) return Backend::sum_of_squares(x);
  return HWY_DYNAMIC_DISPATCH(sum_of_squares_loop)(x);
}

std::optional<int64_t> CpuBackend::first_not_finite(const Tensor& x) {
  if (x.dtype() == DType::kF64) return Backend::first_not_finite(x);
  const int64_t prefix = HWY_DYNAMIC_DISPATCH(finite_prefix)(x);
  const auto in_rest = Backend::first_not_finite(x.flat().slice(prefix, x.elements()));
  return in_rest ? std::optional(prefix + *in_rest) : std::nullopt;
}

}  // namespace ropewalk
#endif

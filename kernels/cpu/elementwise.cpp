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

void add_loop(int64_t count, const float* a, const float* b, float* y, bool streamed) {
  by_way(streamed, [&](auto way) HWY_ATTR {
    for_each_vector(count, [&](int64_t i, auto some)
                               HWY_ATTR { store(hn::Add(load(a + i, some), load(b + i, some)), y + i, some, way); });
  });
}

// Element i is added to partial sum i mod 16 in fp64, and the partial sums are added in order. So vectors of any width
// give the same bits.
template <class F>
HWY_INLINE double sum_in_fp64(int64_t count, const float* x, F&& value) {
  using Doubles = hn::ScalableTag<double>;
  const Doubles d;
  const hn::Rebind<float, Doubles> narrow;
  constexpr int64_t kPartials = 16, kLanes = hn::MaxLanes(Doubles()), kVectors = kPartials / kLanes;
  hn::Vec<Doubles> sums[kVectors];
  for (int64_t j = 0; j < kVectors; ++j) sums[j] = hn::Zero(d);
  int64_t i = 0;
  for (; i + kPartials <= count; i += kPartials)
    for (int64_t j = 0; j < kVectors; ++j)
      sums[j] = hn::Add(sums[j], value(hn::PromoteTo(d, hn::LoadU(narrow, x + i + j * kLanes))));

  HWY_ALIGN double partials[kPartials];
  for (int64_t j = 0; j < kVectors; ++j) hn::Store(sums[j], d, partials + j * kLanes);
  for (int64_t j = 0; i < count; ++i, ++j) partials[j] += hn::GetLane(value(hn::Set(d, static_cast<double>(x[i]))));
  double total = 0;
  for (double partial : partials) total += partial;
  return total;
}

double sum_loop(int64_t count, const float* x) {
  return sum_in_fp64(count, x, [](auto value) HWY_ATTR { return value; });
}

double sum_of_squares_loop(int64_t count, const float* x) {
  return sum_in_fp64(count, x, [](auto value) HWY_ATTR { return hn::Mul(value, value); });
}

// The length of a prefix that is finite: it ends before the first whole vector with a NaN or infinity, or with the last
// whole vector.
int64_t finite_prefix(int64_t count, const float* x) {
  const FloatVector largest = hn::Set(Floats(), hwy::HighestValue<float>());
  const int64_t step = lanes();
  int64_t i = 0;
  while (i + step <= count && hn::AllTrue(Floats(), hn::Le(hn::Abs(hn::LoadU(Floats(), x + i)), largest))) i += step;
  return i;
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(add_loop);
HWY_EXPORT(sum_loop);
HWY_EXPORT(sum_of_squares_loop);
HWY_EXPORT(finite_prefix);

void CpuBackend::add(const Tensor& a, const Tensor& b, const Tensor& y) {
  if (a.dtype() != DType::kF32) return Backend::add(a, b, y);
  HWY_DYNAMIC_DISPATCH(add_loop)
  (a.elements(), a.data<float>(), b.data<float>(), y.data<float>(), worth_streaming(y, {&a, &b}));
}

double CpuBackend::sum(const Tensor& x) {
  if (x.dtype() != DType::kF32) return Backend::sum(x);
  const int64_t count = x.elements();
  return HWY_DYNAMIC_DISPATCH(sum_loop)(count, x.data<float>());
}

double CpuBackend::sum_of_squares(const Tensor& x) {
  if (x.dtype() != DType::kF32) return Backend::sum_of_squares(x);
  const int64_t count = x.elements();
  return HWY_DYNAMIC_DISPATCH(sum_of_squares_loop)(count, x.data<float>());
}

std::optional<int64_t> CpuBackend::first_not_finite(const Tensor& x) {
  if (x.dtype() != DType::kF32) return Backend::first_not_finite(x);
  const int64_t count = x.elements();
  const int64_t prefix = HWY_DYNAMIC_DISPATCH(finite_prefix)(count, x.data<float>());
  const auto in_rest = operations::first_not_finite(count - prefix, x.data<float>() + prefix);
  return in_rest ? std::optional(prefix + *in_rest) : std::nullopt;
}

}  // namespace ropewalk
#endif

// Vector code shared by the operations, compiled once for each instruction set: loops with a tail, reductions,
// exponentials.
#if defined(ROPEWALK_CPU_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEWALK_CPU_VECTOR_INL_H_
#undef ROPEWALK_CPU_VECTOR_INL_H_
#else
#define ROPEWALK_CPU_VECTOR_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/bfloat16.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using FloatVector = hn::Vec<Floats>;

inline int64_t lanes() { return static_cast<int64_t>(hn::Lanes(Floats())); }

// Which elements a vector holds, of those that begin at a pointer: as many as it has lanes, or the first n of these; or
// the even or the odd ones of twice as many. In bf16 two elements are one word, and these are faster to take apart.
struct AllLanes {};
struct FirstLanes {
  int64_t n;
};
struct EvenLanes {};
struct OddLanes {};

// bf16 is the upper half of fp32. Rounded to nearest, ties to even, to the bits of kernels/bfloat16.h (Highway's
// conversion truncates).
using Words = hn::Rebind<uint32_t, Floats>;
using WordVector = hn::Vec<Words>;
using Halves = hn::Rebind<uint16_t, Floats>;
HWY_INLINE WordVector round_to_upper_half(FloatVector x) {
  const Words d;
  const WordVector bits = hn::BitCast(d, x);
  const WordVector odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1));
  const WordVector rounded = hn::Add(bits, hn::Add(odd, hn::Set(d, 0x7fff)));
  const WordVector quiet = hn::Or(bits, hn::Set(d, 0x400000));  // rounding could turn a NaN into infinity
  return hn::IfThenElse(hn::RebindMask(d, hn::IsNaN(x)), quiet, rounded);
}

// Elements in memory are fp32 (float) or bf16 (BFloat16); vectors are fp32.
HWY_INLINE FloatVector load(const float* from, AllLanes) { return hn::LoadU(Floats(), from); }
HWY_INLINE FloatVector load(const BFloat16* from, AllLanes) {
  return hn::BitCast(Floats(), hn::ShiftLeft<16>(hn::PromoteTo(Words(), hn::LoadU(Halves(), &from->bits))));
}
template <class E>
HWY_INLINE FloatVector load(const E* from, FirstLanes some) {  // 0 in the others
  HWY_ALIGN E buffer[hn::MaxLanes(Floats())] = {};
  std::memcpy(buffer, from, static_cast<size_t>(some.n) * sizeof(E));
  return load(buffer, AllLanes{});
}

HWY_INLINE void store(FloatVector x, float* to, AllLanes) { hn::StoreU(x, Floats(), to); }
HWY_INLINE void store(FloatVector x, BFloat16* to, AllLanes) {
  const hn::Rebind<int32_t, Floats> d;
  const auto halves = hn::BitCast(d, hn::ShiftRight<16>(round_to_upper_half(x)));
  hn::StoreU(hn::DemoteTo(Halves(), halves), Halves(), &to->bits);
}
template <class E>
HWY_INLINE void store(FloatVector x, E* to, FirstLanes some) {
  HWY_ALIGN E buffer[hn::MaxLanes(Floats())];
  store(x, buffer, AllLanes{});
  std::memcpy(to, buffer, static_cast<size_t>(some.n) * sizeof(E));
}

// How an output is stored: through the caches or past them (streaming.h).
struct Cached {
  template <class D, class T>
  HWY_INLINE void operator()(hn::Vec<D> x, D d, T* to) const {
    hn::StoreU(x, d, to);
  }
};
struct Streamed {
  template <class D, class T>
  HWY_INLINE void operator()(hn::Vec<D> x, D d, T* to) const {
    hn::Stream(x, d, to);
  }
};

#if HWY_TARGET == HWY_SCALAR
template <class E>
HWY_INLINE FloatVector load(const E* from, EvenLanes) {
  return load(from, AllLanes{});
}
template <class E>
HWY_INLINE FloatVector load(const E* from, OddLanes) {
  return load(from + 1, AllLanes{});
}
template <class Way>
HWY_INLINE void store_pairs(FloatVector even, FloatVector odd, BFloat16* to, Way) {
  store(even, to, AllLanes{}), store(odd, to + 1, AllLanes{});
}
#else
HWY_INLINE WordVector upper_halves(WordVector x) { return hn::And(x, hn::Set(Words(), 0xffff0000)); }
HWY_INLINE WordVector load_pairs(const BFloat16* from) {
  return hn::LoadU(Words(), reinterpret_cast<const uint32_t*>(from));
}
HWY_INLINE FloatVector load(const BFloat16* from, EvenLanes) {
  return hn::BitCast(Floats(), hn::ShiftLeft<16>(load_pairs(from)));
}
HWY_INLINE FloatVector load(const BFloat16* from, OddLanes) {
  return hn::BitCast(Floats(), upper_halves(load_pairs(from)));
}
HWY_INLINE FloatVector load(const float* from, EvenLanes) {
  return hn::ConcatEven(Floats(), hn::LoadU(Floats(), from + lanes()), hn::LoadU(Floats(), from));
}
HWY_INLINE FloatVector load(const float* from, OddLanes) {
  return hn::ConcatOdd(Floats(), hn::LoadU(Floats(), from + lanes()), hn::LoadU(Floats(), from));
}
template <class Way>
HWY_INLINE void store_pairs(FloatVector even, FloatVector odd, BFloat16* to, Way way) {
  const WordVector lower = hn::ShiftRight<16>(round_to_upper_half(even));
  way(hn::Or(lower, upper_halves(round_to_upper_half(odd))), Words(), reinterpret_cast<uint32_t*>(to));
}
#endif

// fp32 numbers kept beside a row of elements, in the order in which vectors hold these: element i + 2 j of EvenLanes at
// i + j, then those of OddLanes.
template <class Lanes>
HWY_INLINE FloatVector load_kept(const float* from, Lanes some) {
  return load(from, some);
}
HWY_INLINE FloatVector load_kept(const float* from, EvenLanes) { return load(from, AllLanes{}); }
HWY_INLINE FloatVector load_kept(const float* from, OddLanes) { return load(from + lanes(), AllLanes{}); }
template <class Lanes>
HWY_INLINE void store_kept(FloatVector x, float* to, Lanes some) {
  store(x, to, some);
}
HWY_INLINE void store_kept(FloatVector x, float* to, EvenLanes) { store(x, to, AllLanes{}); }
HWY_INLINE void store_kept(FloatVector x, float* to, OddLanes) { store(x, to + lanes(), AllLanes{}); }

// Calls f with an element (0) of a tensor's type: fp32 or bf16.
template <class F>
HWY_INLINE void by_element(DType dtype, F&& f) {
  if (dtype == DType::kBF16) return f(BFloat16{});
  f(float{});
}

// Calls f(Cached) or f(Streamed). A store fence after streaming keeps the streamed stores before later ones.
template <class F>
HWY_INLINE void by_way(bool streamed, F&& f) {
  if (!streamed) return f(Cached{});
  f(Streamed{});
  hwy::FlushStream();
}

// Prefetches the cache line at p. The hardware prefetcher does not foresee where the next row begins if rows are apart.
HWY_INLINE void prefetch(const void* p) { hwy::Prefetch(p); }

// For loops over all of a tensor, at its element p. The hardware prefetcher has too few loads in flight if each vector
// takes much arithmetic, and memory answers faster if several pages are read at once. So while a block of pages is
// read, the next block is prefetched, in turn from each of its pages.
template <int kPages = 2>
HWY_INLINE void prefetch_ahead(const void* p) {
  constexpr uintptr_t kLine = 64, kPage = 4096, kBlock = kPages * kPage;
  const auto address = reinterpret_cast<uintptr_t>(p);
  const uintptr_t line = address % kBlock / kLine, next_block = address - address % kBlock + kBlock;
  prefetch(reinterpret_cast<const void*>(next_block + line % kPages * kPage + line / kPages * kLine));
}
template <class E, class Lanes>
HWY_INLINE void prefetch_ahead(const E* p, Lanes) {
  prefetch_ahead(p);
}
HWY_INLINE void prefetch_ahead(const BFloat16*, OddLanes) {}  // in the line of the even ones
HWY_INLINE void prefetch_ahead(const float* p, OddLanes) { prefetch_ahead(p + lanes()); }

// x rounded to E, in fp32.
template <class E>
HWY_INLINE FloatVector rounded_to(FloatVector x) {
  if constexpr (std::is_same_v<E, float>) {
    return x;
  } else {
    const hn::Rebind<uint32_t, Floats> d;
    return hn::BitCast(Floats(), hn::And(round_to_upper_half(x), hn::Set(d, 0xffff0000u)));
  }
}

// x in the lanes that are loaded or stored, `otherwise` in the rest.
template <class Lanes>
HWY_INLINE FloatVector keep(FloatVector x, FloatVector, Lanes) {
  return x;
}
HWY_INLINE FloatVector keep(FloatVector x, FloatVector otherwise, FirstLanes some) {
  return hn::IfThenElse(hn::FirstN(Floats(), static_cast<size_t>(some.n)), x, otherwise);
}

// Calls f(i, lanes) for the vectors that begin at i = 0, lanes(), ... and cover [0, count).
template <class F>
HWY_INLINE void for_each_vector(int64_t count, F&& f) {
  const int64_t step = lanes();
  int64_t i = 0;
  for (; i + step <= count; i += step) f(i, AllLanes{});
  if (i < count) f(i, FirstLanes{count - i});
}

// The same in the order in which elements of type E are fastest: in bf16 even and odd ones in turn, and at the end
// consecutive ones.
template <class E, class F>
HWY_INLINE void for_each_vector_of(int64_t count, F&& f) {
  int64_t i = 0;
  if constexpr (std::is_same_v<E, BFloat16>)
    for (const int64_t step = 2 * lanes(); i + step <= count; i += step) f(i, EvenLanes{}), f(i, OddLanes{});
  for_each_vector(count - i, [&](int64_t j, auto some) HWY_ATTR { f(i + j, some); });
}

// to[i] = f(i, lanes) for i in [0, count), in the order of for_each_vector_of.
template <class Way, class F>
HWY_INLINE void transform(int64_t count, float* to, Way way, F&& f) {
  const int64_t step = lanes();
  int64_t i = 0;
  for (; i + step <= count; i += step) way(f(i, AllLanes{}), Floats(), to + i);
  if (i < count) store(f(i, FirstLanes{count - i}), to + i, FirstLanes{count - i});
}
template <class Way, class F>
HWY_INLINE void transform(int64_t count, BFloat16* to, Way way, F&& f) {
  const int64_t step = 2 * lanes();
  int64_t i = 0;
  for (; i + step <= count; i += step) {
    const FloatVector even = f(i, EvenLanes{});
    store_pairs(even, f(i, OddLanes{}), to + i, way);
  }
  for_each_vector(count - i, [&](int64_t j, auto some) HWY_ATTR { store(f(i + j, some), to + i + j, some); });
}

// The same for two outputs, which may be inputs.
struct Two {
  FloatVector first, second;
};
template <class F>
HWY_INLINE void transform(int64_t count, float* first, float* second, F&& f) {
  for_each_vector(count, [&](int64_t i, auto some) HWY_ATTR {
    const Two x = f(i, some);
    store(x.first, first + i, some);
    store(x.second, second + i, some);
  });
}
template <class F>
HWY_INLINE void transform(int64_t count, BFloat16* first, BFloat16* second, F&& f) {
  const int64_t step = 2 * lanes();
  int64_t i = 0;
  for (; i + step <= count; i += step) {
    const Two even = f(i, EvenLanes{}), odd = f(i, OddLanes{});
    store_pairs(even.first, odd.first, first + i, Cached{});
    store_pairs(even.second, odd.second, second + i, Cached{});
  }
  for_each_vector(count - i, [&](int64_t j, auto some) HWY_ATTR {
    const Two x = f(i + j, some);
    store(x.first, first + i + j, some);
    store(x.second, second + i + j, some);
  });
}

// Combines the vectors f(i, lanes) over [0, count) into four independent accumulators, and these into one vector. E:
// the type of the elements that f loads.
template <class E, class F, class Combine>
HWY_INLINE FloatVector reduce(int64_t count, float identity, F&& f, Combine&& combine) {
  const int64_t step = lanes();
  const FloatVector start = hn::Set(Floats(), identity);
  FloatVector a = start, b = start, c = start, d = start;
  int64_t i = 0;
  for (; i + 4 * step <= count; i += 4 * step) {
    if constexpr (std::is_same_v<E, BFloat16>) {
      a = combine(a, f(i, EvenLanes{}));
      b = combine(b, f(i, OddLanes{}));
      c = combine(c, f(i + 2 * step, EvenLanes{}));
      d = combine(d, f(i + 2 * step, OddLanes{}));
    } else {
      a = combine(a, f(i, AllLanes{}));
      b = combine(b, f(i + step, AllLanes{}));
      c = combine(c, f(i + 2 * step, AllLanes{}));
      d = combine(d, f(i + 3 * step, AllLanes{}));
    }
  }
  for (; i + step <= count; i += step) a = combine(a, f(i, AllLanes{}));
  if (i < count) b = combine(b, keep(f(i, FirstLanes{count - i}), start, FirstLanes{count - i}));
  return combine(combine(a, b), combine(c, d));
}

template <class E = float, class F>
HWY_INLINE float sum_of(int64_t count, F&& f) {
  const auto plus = [](FloatVector a, FloatVector b) HWY_ATTR { return hn::Add(a, b); };
  return hn::GetLane(hn::SumOfLanes(Floats(), reduce<E>(count, 0.0f, f, plus)));
}

// May drop a NaN; in a softmax the sum of exponentials brings it back.
template <class E = float, class F>
HWY_INLINE float max_of(int64_t count, F&& f) {
  const auto larger = [](FloatVector a, FloatVector b) HWY_ATTR { return hn::Max(a, b); };
  return hn::GetLane(hn::MaxOfLanes(Floats(), reduce<E>(count, hwy::LowestValue<float>(), f, larger)));
}

// max(bound, x) and min(bound, x), but a NaN in x stays: on x86, Max and Min return the second operand if either is
// NaN.
HWY_INLINE FloatVector at_least(float bound, FloatVector x) {
  const FloatVector limit = hn::Set(Floats(), bound);
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
  return hn::Max(limit, x);
#else
  return hn::IfThenElse(hn::Lt(x, limit), limit, x);
#endif
}
HWY_INLINE FloatVector at_most(float bound, FloatVector x) {
  const FloatVector limit = hn::Set(Floats(), bound);
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
  return hn::Min(limit, x);
#else
  return hn::IfThenElse(hn::Gt(x, limit), limit, x);
#endif
}

// From number + kShift: `whole` is n, the number rounded to an integer, and `power` is 2^n. Adding kShift rounds,
// because an ulp of the sum is 1. The sum's lowest bits are n + 127, the biased exponent of 2^n. Needs -127 <= n <=
// 128. If the number is NaN, so is `whole`.
inline constexpr float kShift = 0x1.8p23f + 127;
struct Power {
  FloatVector whole, power;
};
HWY_INLINE Power power_of_rounded(FloatVector number_plus_shift) {
  const Floats d;
  const hn::Rebind<int32_t, Floats> integers;
  const auto bits = hn::ShiftLeft<23>(hn::BitCast(integers, number_plus_shift));
  return {hn::Sub(number_plus_shift, hn::Set(d, kShift)), hn::BitCast(d, bits)};
}

// power * 2^fraction for |fraction| <= 1/2. The polynomial is the minimax fit of degree 6 to 2^x with value 1 at 0
// (relative error 2.1e-8 with these rounded coefficients). For n = -127 power is 0, and for n = 128 infinity.
HWY_INLINE FloatVector times_exp2(FloatVector power, FloatVector fraction) {
  const Floats d;
  FloatVector p = hn::Set(d, 0.000155946778f);
  p = hn::MulAdd(p, fraction, hn::Set(d, 0.00134066434f));
  p = hn::MulAdd(p, fraction, hn::Set(d, 0.00961769279f));
  p = hn::MulAdd(p, fraction, hn::Set(d, 0.0555031039f));
  p = hn::MulAdd(p, fraction, hn::Set(d, 0.240226522f));
  p = hn::MulAdd(p, fraction, hn::Set(d, 0.693147242f));
  p = hn::MulAdd(p, fraction, hn::Set(d, 1.0f));
  return hn::Mul(p, power);
}

// 2^x, to about 1 ulp; 0 for x <= -126.5 (n = -127). x is at most 127.5, or NaN.
HWY_INLINE FloatVector exp2_of_bounded(FloatVector x) {
  x = at_least(-127.0f, x);
  const Power near = power_of_rounded(hn::Add(x, hn::Set(Floats(), kShift)));
  return times_exp2(near.power, hn::Sub(x, near.whole));
}
// The same for any x: infinity for x > 127.5 (n = 128).
HWY_INLINE FloatVector exp2_of(FloatVector x) { return exp2_of_bounded(at_most(128.0f, x)); }

// e^x = 2^(x log2 e), the product carried in two parts: about 2 ulp with fused multiply-add, |x| / 2 ulp more
// without.
HWY_INLINE FloatVector exp_of(FloatVector x) {
  const Floats d;
  const FloatVector log2e_high = hn::Set(d, 1.44269502f), log2e_low = hn::Set(d, 1.92596299e-8f);
  x = at_most(88.5f, at_least(-88.0f, x));  // log2(e) times these rounds to 128 and -127
  const Power near = power_of_rounded(hn::MulAdd(x, log2e_high, hn::Set(d, kShift)));
  return times_exp2(near.power, hn::MulAdd(x, log2e_low, hn::MulSub(x, log2e_high, near.whole)));
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggled guard

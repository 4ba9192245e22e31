// Elements, and how they are loaded and stored: bf16 is widened to fp32 when it is read, and rounded to nearest when it
// is written.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda/platform.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#else
#include <bit>

#include "kernels/bfloat16.h"
#endif

namespace ROPEWALK_CUDA {

struct Bf16 {
  uint16_t bits;
};

__device__ __forceinline__ float float_of(uint32_t bits) {
#ifdef __CUDACC__
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}
__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ double widen(double x) { return x; }
__device__ __forceinline__ float widen(Bf16 x) { return float_of(uint32_t{x.bits} << 16); }

template <typename E>
__device__ __forceinline__ E rounded(float x) {
  return static_cast<E>(x);
}
template <>
__device__ __forceinline__ Bf16 rounded<Bf16>(float x) {
#ifdef __CUDACC__
  return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
#else
  return {BFloat16(x).bits};
#endif
}
template <typename E>
__device__ __forceinline__ E rounded(double x) {
  return static_cast<E>(x);
}
template <>
__device__ __forceinline__ Bf16 rounded<Bf16>(double x) {
  return rounded<Bf16>(static_cast<float>(x));
}

// n adjacent elements that one instruction loads or stores.
template <typename E, int n>
struct alignas(sizeof(E) * n) Pack {
  E values[n];
};
template <int n, typename E>
__device__ __forceinline__ Pack<E, n> load(const E* from) {
#ifdef ROPEWALK_CUDA_EMULATED
  simt::check_aligned(from, sizeof(Pack<E, n>));
#endif
  return *reinterpret_cast<const Pack<E, n>*>(from);
}
template <int n, typename E>
__device__ __forceinline__ void store(const Pack<E, n>& pack, E* to) {
#ifdef ROPEWALK_CUDA_EMULATED
  simt::check_aligned(to, sizeof(Pack<E, n>));
#endif
  *reinterpret_cast<Pack<E, n>*>(to) = pack;
}

#ifdef __CUDACC__
// The address in the 32-bit shared window, for instructions that access only shared memory.
__device__ __forceinline__ uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}
#endif

// n elements kept in registers in their memory format, two bf16 per register, and widened when they are read. (For a
// Pack, compilers use a register per element, and keep the widened values too.)
template <typename E, int n>
class Held {
 public:
  __device__ void load_from(const E* from) {
    if constexpr (sizeof(E) * n < sizeof(uint32_t))
      words_.values[0] = from->bits;
    else
      words_ = load<kWords>(reinterpret_cast<const uint32_t*>(from));
  }
  __device__ float operator[](int i) const {
    if constexpr (sizeof(E) == sizeof(float)) return float_of(words_.values[i]);
    const uint32_t word = words_.values[i / 2];
    return float_of(i % 2 == 0 ? word << 16 : word & 0xffff0000u);
  }
  // A compiler barrier: later reads widen the packed words again, so that no widened values are kept in registers.
  __device__ void keep() {
#ifdef __CUDACC__
    ROPEWALK_UNROLL
    for (int i = 0; i < kWords; ++i) asm volatile("" : "+r"(words_.values[i]));
#endif
  }

 private:
  static constexpr int kWords = (n * static_cast<int>(sizeof(E)) + 3) / 4;
  Pack<uint32_t, kWords> words_ = {};
};

// The elements per access: a pack of 16 bytes, if it divides rows of `columns` elements and all pointers are aligned to
// it; otherwise 1.
template <typename... Pointers>
int pack_of(int64_t columns, int64_t element_bytes, Pointers... pointers) {
  const int64_t n = 16 / element_bytes;
  const bool aligned = ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
  return aligned && columns % n == 0 ? static_cast<int>(n) : 1;
}

}  // namespace ROPEWALK_CUDA

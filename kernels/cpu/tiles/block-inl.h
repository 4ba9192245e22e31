// The micro-kernels of bf16 products: a block of 32 x 32 sums in fp32, on AMX tiles or with AVX512-BF16 dot products.
// Both read the same packed operands (packing-inl.h):
//
//   left   [32, inner]   per step of 32 of the inner dimension, two tiles of 16 rows x 32 elements
//   right  [inner, 32]   per step, two tiles of 16 columns. Row r of a tile holds the elements 2r and 2r + 1 of the
//                        step for each column, side by side
//
// Both units round each sum to nearest even, treat subnormal inputs as 0 and flush subnormal results to 0, whatever
// MXCSR says (Intel SDM volume 2, TDPBF16PS and VDPBF16PS). So they err by less than 2^-126 a term beyond the rounding
// of sums in fp32.
#pragma once

#include <hwy/base.h>
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels/bfloat16.h"

// The code between these is compiled for the instructions of this folder, whatever the machine of the build. Headers
// that define functions for everyone must be included before it.
#define ROPEWALK_BEFORE_TILES HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,amx-tile,amx-bf16")
#define ROPEWALK_AFTER_TILES HWY_POP_ATTRIBUTES

ROPEWALK_BEFORE_TILES
namespace ropewalk::tiles {

inline constexpr int64_t kSide = 32;              // rows and columns of a block, elements of a step
inline constexpr int64_t kTile = 512;             // elements of a tile: 16 rows of 64 bytes
inline constexpr int64_t kStep = 2 * kTile;       // elements of a step of a packed operand
inline constexpr int64_t kBlock = kSide * kSide;  // sums of a block

// A left operand: row r of step s begins at data + r * row_stride + s * step_stride. Packed, or rows of a matrix in
// memory.
struct Left {
  Left(const BFloat16* packed) : data(packed) {}  // NOLINT: most are packed
  Left(const BFloat16* matrix, int64_t row_stride_) : data(matrix), row_stride(row_stride_), step_stride(kSide) {}

  const BFloat16* data;
  int64_t row_stride = kSide, step_stride = kStep;
};

// The AMX unit. Tiles 0 to 3 are the sums, 4 and 5 the left operand, 6 and 7 the right one.
struct Amx {
  // Tile registers hold 16 rows of 64 bytes while a Session exists; afterwards they are released, so that the system
  // need not save them.
  class Session {
   public:
    Session() {
      alignas(64) uint8_t configuration[64] = {1};  // palette 1
      for (int tile = 0; tile < 8; ++tile) {
        configuration[16 + 2 * tile] = 64;  // bytes of a row
        configuration[48 + tile] = 16;      // rows
      }
      __asm__ volatile("ldtilecfg %0" ::"m"(configuration));
    }
    ~Session() { __asm__ volatile("tilerelease"); }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
  };

  // c [32, 32], rows `stride` floats apart, = left right; or += that.
  template <bool add>
  static inline __attribute__((always_inline)) void multiply(int64_t steps, Left left, const BFloat16* right, float* c,
                                                             int64_t stride) {
    float* const low = c + 16 * stride;
    if constexpr (add) {
      load<0>(c, 4 * stride), load<1>(c + 16, 4 * stride);
      load<2>(low, 4 * stride), load<3>(low + 16, 4 * stride);
    } else {
      zero<0>(), zero<1>(), zero<2>(), zero<3>();
    }
    const BFloat16 *upper = left.data, *lower = upper + 16 * left.row_stride;
    const int64_t row_bytes = 2 * left.row_stride;
    for (int64_t step = 0; step < steps; ++step, right += kStep) {
      load<4>(upper, row_bytes), load<6>(right, 64), load<7>(right + kTile, 64);
      add_product<0, 4, 6>(), add_product<1, 4, 7>();
      load<5>(lower, row_bytes);
      upper += left.step_stride, lower += left.step_stride;
      add_product<2, 5, 6>(), add_product<3, 5, 7>();
    }
    store<0>(c, 4 * stride), store<1>(c + 16, 4 * stride);
    store<2>(low, 4 * stride), store<3>(low + 16, 4 * stride);
  }

 private:
  template <int tile>
  static inline __attribute__((always_inline)) void zero() {
    __asm__ volatile("tilezero %%tmm%c0" ::"i"(tile));
  }
  template <int tile>
  static inline __attribute__((always_inline)) void load(const void* from, int64_t row_bytes) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(row_bytes), "i"(tile) : "memory");
  }
  template <int tile>
  static inline __attribute__((always_inline)) void store(void* to, int64_t row_bytes) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(row_bytes), "i"(tile) : "memory");
  }
  template <int sum, int left, int right>
  static inline __attribute__((always_inline)) void add_product() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sum), "i"(left), "i"(right));
  }
};

// AVX512-BF16: a dot product of two pairs in each lane.
struct DotProducts {
  class Session {};

  template <bool add>
  static inline void multiply(int64_t steps, Left left, const BFloat16* right, float* c, int64_t stride) {
    constexpr int kRows = 12;  // with their two vectors of sums each, they fill the registers
    strip<add, kRows>(steps, left, 0, right, c, stride);
    strip<add, kRows>(steps, left, kRows, right, c, stride);
    strip<add, kSide - 2 * kRows>(steps, left, 2 * kRows, right, c, stride);
  }

 private:
  template <bool add, int rows>
  static inline void strip(int64_t steps, Left left, int64_t first, const BFloat16* right, float* c, int64_t stride) {
    __m512 sum[rows][2];
#pragma GCC unroll 16
    for (int row = 0; row < rows; ++row)
      for (int half = 0; half < 2; ++half)
        sum[row][half] = add ? _mm512_loadu_ps(c + (first + row) * stride + 16 * half) : _mm512_setzero_ps();
    const BFloat16* from = left.data + first * left.row_stride;
    for (int64_t step = 0; step < steps; ++step, from += left.step_stride, right += kStep)
      for (int64_t pair = 0; pair < 16; ++pair) {
        const __m512bh b0 = pairs(_mm512_load_si512(right + pair * kSide));
        const __m512bh b1 = pairs(_mm512_load_si512(right + kTile + pair * kSide));
#pragma GCC unroll 16
        for (int row = 0; row < rows; ++row) {
          int32_t both;
          std::memcpy(&both, from + row * left.row_stride + 2 * pair, sizeof both);
          const __m512bh a = pairs(_mm512_set1_epi32(both));
          sum[row][0] = _mm512_dpbf16_ps(sum[row][0], a, b0);
          sum[row][1] = _mm512_dpbf16_ps(sum[row][1], a, b1);
        }
      }
#pragma GCC unroll 16
    for (int row = 0; row < rows; ++row)
      for (int half = 0; half < 2; ++half) _mm512_storeu_ps(c + (first + row) * stride + 16 * half, sum[row][half]);
  }
  static inline __m512bh pairs(__m512i x) { return (__m512bh)x; }
};

}  // namespace ropewalk::tiles
ROPEWALK_AFTER_TILES

// Packs bf16 matrices into the operands of block-inl.h: four ways, for both sides and both orders of the elements in
// memory. Rows, columns and steps that are not there become 0.
#pragma once

#include <algorithm>

#include "kernels/cpu/tiles/block-inl.h"

ROPEWALK_BEFORE_TILES
namespace ropewalk::tiles {

// A matrix in row-major memory, rows `stride` elements apart. Rows before `first` are not read: they are 0.
struct Rows {
  const BFloat16* data;
  int64_t stride;
  int64_t rows, columns;
  int64_t first = 0;
};

inline __mmask32 first_of_32(int64_t count) {
  return static_cast<__mmask32>((uint64_t{1} << std::clamp<int64_t>(count, 0, 32)) - 1);
}

// 32 elements of row `row` from column `column` on, 0 outside the matrix.
inline __m512i load_32(const Rows& x, int64_t row, int64_t column) {
  if (row < x.first || row >= x.rows) return _mm512_setzero_si512();
  return _mm512_maskz_loadu_epi16(first_of_32(x.columns - column), x.data + row * x.stride + column);
}

// Transposes 16 x 16 elements of 32 bits.
inline void transpose_16x16(__m512i (&x)[16]) {
  __m512i y[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
    x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
    x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
    x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
  }
  // x[4 a + b], lane c: the column 4 c + b of the rows 4 a to 4 a + 3.
#pragma GCC unroll 4
  for (int b = 0; b < 4; ++b) {
    const __m512i low01 = _mm512_shuffle_i32x4(x[b], x[4 + b], 0x88),
                  high01 = _mm512_shuffle_i32x4(x[b], x[4 + b], 0xdd);
    const __m512i low23 = _mm512_shuffle_i32x4(x[8 + b], x[12 + b], 0x88);
    const __m512i high23 = _mm512_shuffle_i32x4(x[8 + b], x[12 + b], 0xdd);
    y[b] = _mm512_shuffle_i32x4(low01, low23, 0x88);
    y[8 + b] = _mm512_shuffle_i32x4(low01, low23, 0xdd);
    y[4 + b] = _mm512_shuffle_i32x4(high01, high23, 0x88);
    y[12 + b] = _mm512_shuffle_i32x4(high01, high23, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) x[i] = y[i];
}

// Interleaves the elements of two vectors: low has the columns 0 to 15, high 16 to 31.
struct Interleaved {
  __m512i low, high;
};
inline Interleaved interleave(__m512i even, __m512i odd) {
  const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
  even = _mm512_permutexvar_epi64(order, even), odd = _mm512_permutexvar_epi64(order, odd);
  return {_mm512_unpacklo_epi16(even, odd), _mm512_unpackhi_epi16(even, odd)};
}

// The steps of an operand whose inner dimension has `inner` elements.
inline int64_t steps_of(int64_t inner) { return (inner + kSide - 1) / kSide; }

// left [32, inner] = rows [first, first + 32) of x [.., inner]
inline void pack_left(const Rows& x, int64_t first, BFloat16* to) {
  for (int64_t column = 0; column < x.columns; column += kSide, to += kStep)
    for (int64_t row = 0; row < kSide; ++row) _mm512_store_si512(to + row * kSide, load_32(x, first + row, column));
}

// left [32, inner] = columns [first, first + 32) of x [inner, ..], transposed
inline void pack_left_of_columns(const Rows& x, int64_t first, BFloat16* to) {
  for (int64_t row = 0; row < x.rows; row += kSide, to += kStep) {
    __m512i low[16], high[16];  // pairs of rows; 16 columns each
    for (int64_t pair = 0; pair < 16; ++pair) {
      const Interleaved both = interleave(load_32(x, row + 2 * pair, first), load_32(x, row + 2 * pair + 1, first));
      low[pair] = both.low, high[pair] = both.high;
    }
    transpose_16x16(low), transpose_16x16(high);
    for (int64_t i = 0; i < 16; ++i) {
      _mm512_store_si512(to + i * kSide, low[i]);
      _mm512_store_si512(to + kTile + i * kSide, high[i]);
    }
  }
}

// right [inner, 32] = columns [first, first + 32) of x [inner, ..]
inline void pack_right(const Rows& x, int64_t first, BFloat16* to) {
  for (int64_t row = 0; row < x.rows; row += kSide, to += kStep)
    for (int64_t pair = 0; pair < 16; ++pair) {
      const Interleaved both = interleave(load_32(x, row + 2 * pair, first), load_32(x, row + 2 * pair + 1, first));
      _mm512_store_si512(to + pair * kSide, both.low);
      _mm512_store_si512(to + kTile + pair * kSide, both.high);
    }
}

// right [inner, 32] = rows [first, first + 32) of x [.., inner], transposed
inline void pack_right_of_rows(const Rows& x, int64_t first, BFloat16* to) {
  for (int64_t column = 0; column < x.columns; column += kSide, to += kStep)
    for (int64_t half = 0; half < 2; ++half) {
      __m512i pairs[16];
      for (int64_t i = 0; i < 16; ++i) pairs[i] = load_32(x, first + 16 * half + i, column);
      transpose_16x16(pairs);
      for (int64_t i = 0; i < 16; ++i) _mm512_store_si512(to + half * kTile + i * kSide, pairs[i]);
    }
}

}  // namespace ropewalk::tiles
ROPEWALK_AFTER_TILES

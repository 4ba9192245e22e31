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

// 32 x 32 elements of a matrix, all of them in memory.
struct Block {
  const BFloat16* data;
  int64_t stride;
};
// The block from (row, column) on. `copy` [32, 32] holds it if a part of it is outside the matrix: there it is 0.
inline Block block_of(const Rows& x, int64_t row, int64_t column, BFloat16* copy) {
  if (row >= x.first && row + kSide <= x.rows && column + kSide <= x.columns)
    return {x.data + row * x.stride + column, x.stride};
  for (int64_t i = 0; i < kSide; ++i) _mm512_store_si512(copy + i * kSide, load_32(x, row + i, column));
  return {copy, kSide};
}

// Four times 16 bytes, `distance` elements apart, one to a lane. Loads do this half of a transposition, so that only
// the other half, inside the lanes, is left to the one port for shuffles.
template <class T>
inline __m512i load_lanes(const T* from, int64_t distance) {
  const auto part = [&](int64_t lane) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + lane * distance));
  };
  __m512i lanes = _mm512_castsi128_si512(part(0));
  lanes = _mm512_inserti32x4(lanes, part(1), 1);
  lanes = _mm512_inserti32x4(lanes, part(2), 2);
  return _mm512_inserti32x4(lanes, part(3), 3);
}
// `count` of these from consecutive rows: lane l of vector i is from row l * count + i.
template <class T, int count>
inline void load_lanes(const T* from, int64_t stride, __m512i (&lanes)[count]) {
#pragma GCC unroll 8
  for (int i = 0; i < count; ++i, from += stride) {
    __asm__("" : "+r"(from));  // one address that advances: one for each row would not fit the registers
    lanes[i] = load_lanes(from, count * stride);
  }
}

// In each lane, transposes 4 x 4 elements of 32 bits.
inline void transpose_lanes(__m512i (&x)[4]) {
  const __m512i low01 = _mm512_unpacklo_epi32(x[0], x[1]), high01 = _mm512_unpackhi_epi32(x[0], x[1]);
  const __m512i low23 = _mm512_unpacklo_epi32(x[2], x[3]), high23 = _mm512_unpackhi_epi32(x[2], x[3]);
  x[0] = _mm512_unpacklo_epi64(low01, low23), x[1] = _mm512_unpackhi_epi64(low01, low23);
  x[2] = _mm512_unpacklo_epi64(high01, high23), x[3] = _mm512_unpackhi_epi64(high01, high23);
}
// In each lane, transposes 8 x 8 elements of 16 bits.
inline void transpose_lanes(__m512i (&x)[8]) {
  __m512i low[4], high[4];  // of the elements 0 to 3 and 4 to 7, in pairs of rows
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    low[i] = _mm512_unpacklo_epi16(x[2 * i], x[2 * i + 1]);
    high[i] = _mm512_unpackhi_epi16(x[2 * i], x[2 * i + 1]);
  }
  transpose_lanes(low), transpose_lanes(high);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) x[i] = low[i], x[4 + i] = high[i];
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
  alignas(64) BFloat16 copy[kBlock];
  for (int64_t row = 0; row < x.rows; row += kSide, to += kStep) {
    const Block block = block_of(x, row, first, copy);
    for (int64_t column = 0; column < kSide; column += 8) {
      __m512i rows[8];
      load_lanes(block.data + column, block.stride, rows);
      transpose_lanes(rows);
#pragma GCC unroll 8
      for (int64_t i = 0; i < 8; ++i) _mm512_store_si512(to + (column + i) * kSide, rows[i]);
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
  alignas(64) BFloat16 copy[kBlock];
  for (int64_t column = 0; column < x.columns; column += kSide, to += kStep) {
    const Block block = block_of(x, first, column, copy);
    for (int64_t half = 0; half < 2; ++half)
      for (int64_t part = 0; part < 4; ++part) {
        const BFloat16* from = block.data + 16 * half * block.stride + 8 * part;
        __m512i pairs[4];
        load_lanes(from, block.stride, pairs);
        transpose_lanes(pairs);
#pragma GCC unroll 4
        for (int64_t i = 0; i < 4; ++i) _mm512_store_si512(to + half * kTile + (4 * part + i) * kSide, pairs[i]);
      }
  }
}

}  // namespace ropewalk::tiles
ROPEWALK_AFTER_TILES

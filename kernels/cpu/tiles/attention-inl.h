// What attention's forward and backward share. Scores are computed transposed, S^T = K Q^T, in blocks of 32 keys x 32
// query rows: a vector then holds one key's scores for 16 queries, so maxima, sums, lse and delta are vectors too, and
// nothing is reduced across lanes. Query rows are pairs (t, r), row t * R + r, of the R query heads that share a KV
// head.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/attention_mask.h"
#include "kernels/cpu/tiles/packing-inl.h"

ROPEWALK_BEFORE_TILES
namespace ropewalk::tiles {

// What is the same for all blocks of a call.
struct Problem {
  Problem(const AttentionSizes& sizes, const AttentionMask& mask_)
      : s(sizes), mask(mask_), R(s.H / s.G), rows(s.T * R), steps(steps_of(s.K)), padded_K(steps * kSide) {
    visible = {mask.of_query(0).begin, mask.of_query(s.T - 1).end};
    if (!visible.empty()) blocks = {visible.begin / kSide, (visible.end + kSide - 1) / kSide};
  }

  // The memory of row (t, r) of KV head g in x [T, H, K], counted in rows of K.
  int64_t memory_row(int64_t g, int64_t row) const { return row / R * s.H + g * R + row % R; }

  // The rows of KV head g in x [U, G, K] that some query sees, as rows of the blocks.
  Rows keys_of(const BFloat16* x, int64_t g) const {
    const int64_t first = blocks.begin * kSide;
    return {x + (first * s.G + g) * s.K, s.G * s.K, visible.end - first, s.K, visible.begin - first};
  }

  const AttentionSizes& s;
  const AttentionMask& mask;
  int64_t R, rows;  // rows of a KV head: T R
  int64_t steps;    // of the head size
  int64_t padded_K;
  Range visible;      // from the first to the last key that some query sees
  Range blocks = {};  // of 32 keys, that contain these
};

// 32 consecutive query rows: a column of blocks.
struct Group {
  alignas(64) int32_t begin[kSide], end[kSide];  // the keys that each row sees; beyond the last row: none
  Range blocks;                                  // of 32 keys, that some row sees
  Range whole_keys;                              // keys that all 32 rows see

  void find(const Problem& p, int64_t first_row) {
    Range some{std::numeric_limits<int64_t>::max(), 0};
    whole_keys = {0, std::numeric_limits<int64_t>::max()};
    for (int64_t i = 0; i < kSide; ++i) {
      const Range seen = first_row + i < p.rows ? p.mask.of_query((first_row + i) / p.R) : Range{};
      begin[i] = static_cast<int32_t>(seen.begin), end[i] = static_cast<int32_t>(seen.end);
      if (!seen.empty()) some = {std::min(some.begin, seen.begin), std::max(some.end, seen.end)};
      whole_keys = {std::max(whole_keys.begin, seen.begin), std::min(whole_keys.end, seen.end)};
    }
    blocks = some.empty() ? Range{} : Range{some.begin / kSide, (some.end + kSide - 1) / kSide};
  }
  bool sees_whole(int64_t block) const {
    return whole_keys.begin <= block * kSide && (block + 1) * kSide <= whole_keys.end;
  }
};

// Copies the 32 rows from first_row on of KV head g, of x [T, H, K], to [32, K]. Rows beyond the last become 0.
inline void gather(const Problem& p, const BFloat16* x, int64_t g, int64_t first_row, BFloat16* to) {
  const int64_t K = p.s.K, rows = std::min(kSide, p.rows - first_row);
  for (int64_t i = 0; i < rows; ++i) std::copy_n(x + p.memory_row(g, first_row + i) * K, K, to + i * K);
  std::fill(to + rows * K, to + kSide * K, BFloat16());
}

// Sets the scores [32 keys, 32 rows] of keys that a row does not see to -infinity, so that 2^score is exactly 0.
inline void hide_masked(const Group& group, int64_t block, float* scores) {
  const __m512 hidden = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  for (int64_t lane = 0; lane < kSide; lane += 16) {
    const __m512i begin = _mm512_load_si512(group.begin + lane), end = _mm512_load_si512(group.end + lane);
    for (int64_t key = 0; key < kSide; ++key) {
      const __m512i at = _mm512_set1_epi32(static_cast<int32_t>(block * kSide + key));
      const __mmask16 masked =
          _mm512_cmp_epi32_mask(at, begin, _MM_CMPINT_LT) | _mm512_cmp_epi32_mask(at, end, _MM_CMPINT_NLT);
      _mm512_mask_store_ps(scores + key * kSide + lane, masked, hidden);
    }
  }
}

// 2^x = 2^floor(x) p(x - floor(x)), to about 2 ulp; 0 for -infinity. p is the minimax fit of degree 5 to 2^f on [0, 1)
// with p(0) = 1 (relative error 8.2e-8).
inline __m512 exp2_of(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, 0x09);  // x - floor(x), without exceptions; 0 for infinities
  __m512 p = _mm512_set1_ps(0.0018671307f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.009017029f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.055799913f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24016444f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.6931513f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, x);
}

// The column of a right operand in which store_pairs puts each row of a group, and the row of each column.
inline int64_t row_of_column(int64_t column) { return column % 16 / 4 * 8 + column / 16 * 4 + column % 4; }

// Packs two adjacent keys' values for a group, 32 of each in bf16, as row `pair` of a right operand's step, and returns
// that row. Its columns are in the order of row_of_column: a plain interleaving of the registers' 128-bit lanes.
inline Interleaved store_pairs(__m512i even, __m512i odd, int64_t pair, BFloat16* step) {
  const Interleaved both{_mm512_unpacklo_epi16(even, odd), _mm512_unpackhi_epi16(even, odd)};
  _mm512_store_si512(step + pair * kSide, both.low);
  _mm512_store_si512(step + kTile + pair * kSide, both.high);
  return both;
}

inline __m512i to_bf16(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

// to [32, padded_K]: row row_of_column(c) = column c of x [padded_K, 32]
inline void transpose_columns(const float* x, int64_t padded_K, float* to) {
  for (int64_t k = 0; k < padded_K; k += 16)
    for (int64_t column = 0; column < kSide; column += 4) {
      __m512i columns[4];
      load_lanes(x + k * kSide + column, kSide, columns);
      transpose_lanes(columns);
      for (int64_t i = 0; i < 4; ++i) _mm512_store_si512(to + row_of_column(column + i) * padded_K + k, columns[i]);
    }
}

}  // namespace ropewalk::tiles
ROPEWALK_AFTER_TILES

// Steps of attention on blocks of rows, vectorized: gathering rows, scores, P V and the mask. Compiled once for each
// instruction set.
#if defined(ROPEWALK_CPU_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEWALK_CPU_ATTENTION_INL_H_
#undef ROPEWALK_CPU_ATTENTION_INL_H_
#else
#define ROPEWALK_CPU_ATTENTION_INL_H_
#endif

#include <limits>

#include "kernels/cpu/attention_tiles.h"
#include "kernels/cpu/tile_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

// to [count] = factor * from [count]
HWY_INLINE void scaled_copy(int64_t count, float factor, const float* from, float* to) {
  const FloatVector by = hn::Set(Floats(), factor);
  for_each_vector(count,
                  [&](int64_t i, auto some) HWY_ATTR { store(hn::Mul(by, load(from + i, some)), to + i, some); });
}

// to [count, R, K] = factor * R adjacent heads of `count` queries of x [.., H, K]: the heads that share a KV head. x
// begins at the first head of the first query. Appends zero rows up to padded_rows.
template <typename E>
HWY_INLINE void gather_rows(const E* x, int64_t H, int64_t R, int64_t K, int64_t count, int64_t padded_rows,
                            float factor, float* to) {
  const FloatVector by = hn::Set(Floats(), factor);
  for (int64_t t = 0; t < count; ++t, x += H * K, to += R * K)
    for_each_vector(R * K, [&](int64_t i, auto some) HWY_ATTR { store(hn::Mul(by, load(x + i, some)), to + i, some); });
  std::fill(to, to + (padded_rows - count * R) * K, 0.0f);
}

// The tile [kTileKeys, K] at key u of x (rows `stride` apart), packed for scores: by rows. Only visible rows are read.
template <typename E>
HWY_INLINE void pack_tile_by_rows(const E* x, int64_t stride, int64_t K, Range visible, int64_t u, float* to) {
  pack_rows_as_columns(x + u * stride, stride, K, in_tile(visible, u), {0, kTileKeys}, to);
}
// The same, packed for weighted sums: by columns of K.
template <typename E>
HWY_INLINE void pack_tile_by_columns(const E* x, int64_t stride, int64_t K, Range visible, int64_t u, float* to) {
  pack_columns(x + u * stride, stride, K, in_tile(visible, u), {0, kTileKeys}, kTileKeys, to);
}

// The columns of whole vectors that contain `columns` of a tile.
HWY_INLINE Range whole_vectors(Range columns) {
  return {columns.begin / lanes() * lanes(), round_up(columns.end, lanes())};
}

// These columns of scores [kStrip, kTileKeys] = rows [kStrip, K] keys^T, for a tile of keys packed by rows.
HWY_INLINE void score_strip(Range columns, int64_t K, const float* rows, const float* keys, float* scores) {
  const int64_t panel = panel_columns();
  for (int64_t column = columns.begin; column < columns.end;) {
    const int64_t within = column % panel;
    const float* right = keys + (column - within) * K + within;
    if (within == 0 && column + panel <= columns.end) {
      strip_product<Order::kRows, false>({rows, K}, right, K, scores + column, kTileKeys);
      column += panel;
    } else {
      strip_product<Order::kRows, false, kStrip, 1>({rows, K}, right, K, scores + column, kTileKeys);
      column += lanes();
    }
  }
}

// out [kStrip, padded_K] += weights [kStrip, kTileKeys] values, over these keys of a tile of values packed by columns.
HWY_INLINE void add_weighted_values(Range keys, int64_t K, int64_t padded_K, const float* weights, const float* values,
                                    float* out) {
  const int64_t panel = panel_columns();
  const Left left{weights + keys.begin, kTileKeys};
  for (int64_t k = 0; k < K; k += panel) {
    const float* right = values + k * kTileKeys + keys.begin * panel;
    if (K - k > lanes())
      strip_product<Order::kRows, true>(left, right, keys.size(), out + k, padded_K);
    else
      strip_product<Order::kRows, true, kStrip, 1>(left, right, keys.size(), out + k, padded_K);
  }
}

// Sets the scores of keys that the row does not see to -infinity, so that P = 2^score is exactly 0.
HWY_INLINE void hide_masked(Range seen, Range columns, float* scores) {
  if (seen.begin <= columns.begin && columns.end <= seen.end) return;
  const Floats d;
  const FloatVector masked = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (int64_t i = columns.begin; i < columns.end; i += lanes()) {
    const auto before = hn::FirstN(d, static_cast<size_t>(std::max<int64_t>(seen.begin - i, 0)));
    const auto until = hn::FirstN(d, static_cast<size_t>(std::max<int64_t>(seen.end - i, 0)));
    hn::StoreU(hn::IfThenElse(hn::AndNot(before, until), hn::LoadU(d, scores + i), masked), d, scores + i);
  }
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggled guard

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

// Copies R adjacent heads of `count` queries from x [.., H, K] to [count, R, K]: the heads that share a KV head. x
// begins at the first head of the first query. Appends zero rows up to padded_rows.
template <typename E>
HWY_INLINE void gather_rows(const E* x, int64_t H, int64_t R, int64_t K, int64_t count, int64_t padded_rows,
                            float* to) {
  for (int64_t t = 0; t < count; ++t)
    for_each_vector(
        R * K, [&](int64_t i, auto some) HWY_ATTR { store(load(x + t * H * K + i, some), to + t * R * K + i, some); });
  std::fill(to + count * R * K, to + padded_rows * K, 0.0f);
}

// The columns of whole vectors that contain `columns` of a tile.
HWY_INLINE Range whole_vectors(Range columns) {
  return {columns.begin / lanes() * lanes(), round_up(columns.end, lanes())};
}

// These columns of scores [kStrip, kTileKeys] = rows [kStrip, K] keys^T; key_panels begins at this tile.
HWY_INLINE void score_strip(Range columns, int64_t K, const float* rows, const float* key_panels, float* scores) {
  const int64_t panel = panel_columns();
  for (int64_t column = columns.begin; column < columns.end;) {
    const int64_t within = column % panel;
    const float* keys = key_panels + (column - within) * K + within;
    if (within == 0 && column + panel <= columns.end) {
      strip_product<Order::kRows, false>({rows, K}, keys, K, scores + column, kTileKeys);
      column += panel;
    } else {
      strip_product<Order::kRows, false, kStrip, 1>({rows, K}, keys, K, scores + column, kTileKeys);
      column += lanes();
    }
  }
}

// out [kStrip, padded_K] += weights [kStrip, kTileKeys] values, over these keys of a tile. value_panels: the values of
// all keys, packed by columns of K into panels [key_rows, panel_columns()]; this tile begins at row u of each panel.
HWY_INLINE void add_weighted_values(Range keys, int64_t K, int64_t padded_K, const float* weights,
                                    const float* value_panels, int64_t key_rows, int64_t u, float* out) {
  const Left left{weights + keys.begin, kTileKeys};
  for (int64_t k = 0; k < K; k += panel_columns()) {
    const float* values = value_panels + k * key_rows + (u + keys.begin) * panel_columns();
    if (K - k > lanes())
      strip_product<Order::kRows, true>(left, values, keys.size(), out + k, padded_K);
    else
      strip_product<Order::kRows, true, kStrip, 1>(left, values, keys.size(), out + k, padded_K);
  }
}

// Sets the scores of keys that the row does not see to -infinity, so that P = 2^score is exactly 0.
HWY_INLINE void hide_masked(Range seen, Range columns, float* scores) {
  constexpr float kMasked = -std::numeric_limits<float>::infinity();
  std::fill(scores + columns.begin, scores + seen.begin, kMasked);
  std::fill(scores + seen.end, scores + columns.end, kMasked);
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggled guard

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

// Which panels each strip of a block computes in one tile of keys.
class Strips {
 public:
  void find(const QueryBlock& block, int64_t u) {
    const int64_t panel = panel_columns();
    columns_.clear();
    for (int64_t row = 0; row < block.rows(); row += kStrip) {
      const Range seen = block.keys_of_rows(row, row + kStrip, u);
      columns_.push_back(seen.empty() ? Range{} : Range{seen.begin / panel * panel, round_up(seen.end, panel)});
    }
  }
  int64_t count() const { return static_cast<int64_t>(columns_.size()); }
  Range columns(int64_t strip) const { return columns_[static_cast<size_t>(strip)]; }  // whole panels

 private:
  std::vector<Range> columns_;
};

// scores [.., kTileKeys] of all strips = rows [.., K] keys^T; key_panels begins at this tile.
HWY_INLINE void score_strips(const Strips& strips, int64_t K, const float* rows, const float* key_panels,
                             float* scores) {
  const int64_t panel = panel_columns();
  for (int64_t column = 0; column < kTileKeys; column += panel)
    for (int64_t s = 0; s < strips.count(); ++s)
      if (strips.columns(s).begin <= column && column < strips.columns(s).end)
        strip_product<Order::kRows, false>({rows + s * kStrip * K, K}, key_panels + column * K, K,
                                           scores + s * kStrip * kTileKeys + column, kTileKeys);
}

// out [.., padded_K] of all strips += weights [.., kTileKeys] values, over the keys that each strip computed.
// value_panels: the values of all keys, packed by columns of K into panels [key_rows, panel_columns()]; this tile
// begins at row u of each panel.
HWY_INLINE void add_weighted_values(const Strips& strips, int64_t padded_K, const float* weights,
                                    const float* value_panels, int64_t key_rows, int64_t u, float* out) {
  const int64_t panel = panel_columns();
  for (int64_t k = 0; k < padded_K; k += panel) {
    const float* values = value_panels + (k * key_rows + u * panel);
    for (int64_t s = 0; s < strips.count(); ++s) {
      const Range columns = strips.columns(s);
      if (!columns.empty())
        strip_product<Order::kRows, true>({weights + s * kStrip * kTileKeys + columns.begin, kTileKeys},
                                          values + columns.begin * panel, columns.size(),
                                          out + s * kStrip * padded_K + k, padded_K);
    }
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

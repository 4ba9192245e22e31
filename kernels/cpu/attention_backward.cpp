// Attention's backward by tiles (Dao, arXiv 2307.08691): P is recomputed from lse, so no scores are kept from the
// forward. The gradients of a key row are added in the order of the queries, so the same call gives the same bits.
#include <numbers>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/tiles/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_backward.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

// delta [T, H] = rowsum(d_o * o) over K
void delta_rows(const Tensor& d_o, const Tensor& o, float* delta) {
  const int64_t rows = o.extent(0) * o.extent(1), K = o.extent(2);
  by_element(o.dtype(), [&](auto element) HWY_ATTR {
    using E = decltype(element);
    for (int64_t row = 0; row < rows; ++row) {
      const E *d_o_row = d_o.data<E>() + row * K, *o_row = o.data<E>() + row * K;
      delta[row] = sum_of(
          K, [&](int64_t k, auto some) HWY_ATTR { return hn::Mul(load(d_o_row + k, some), load(o_row + k, some)); });
    }
  });
}

// scores become P = 2^(score - log2(e) lse), products (d_o v^T) become dS = P * (product - delta), for these columns of
// a row in one tile. The products that follow take them rounded to E.
template <typename E>
HWY_INLINE void gradient_row(Range columns, float lse, float delta, float* score, float* product) {
  const Floats d;
  const FloatVector shift = hn::Set(d, static_cast<float>(std::numbers::log2e * lse)), by = hn::Set(d, delta);
  for (int64_t i = columns.begin; i < columns.end; i += lanes()) {
    const FloatVector p = exp2_of_bounded(hn::Sub(hn::LoadU(d, score + i), shift));
    const FloatVector ds = hn::Mul(p, hn::Sub(hn::LoadU(d, product + i), by));
    hn::StoreU(rounded_to<E>(p), d, score + i);
    hn::StoreU(rounded_to<E>(ds), d, product + i);
  }
}

// A row's P or dS of the keys of the tile that were not computed.
HWY_INLINE void clear_others(Range columns, float* row) {
  std::fill(row, row + columns.begin, 0.0f);
  std::fill(row + columns.end, row + kTileKeys, 0.0f);
}

// One tile of keys: packed keys and values, and their gradients (rows `stride` apart).
struct KeyTile {
  float *keys, *values, *key_columns;  // packed by rows, by rows, by columns
  float *dk, *dv;
  int64_t stride;
};

// The rows of a block, [.., K] or [.., padded_K]; q is scaled for the scores. P and dS [.., kTileKeys] of one tile.
struct BackwardRows {
  float *q, *d_o, *q_columns, *do_columns, *dq, *p, *ds;
};

// P and dS of a strip of rows that begins at row `first`, over the width of the tile: 0 for keys that a row does not
// see. Adds dS k to the sums for dq. lse and delta begin at the block's first row (t, r) in [T, H].
template <typename E>
HWY_INLINE void gradients_of_strip(const QueryBlock& block, int64_t first, int64_t u, const AttentionSizes& s,
                                   int64_t padded_K, const float* lse, const float* delta, const KeyTile& tile,
                                   const BackwardRows& rows) {
  const int64_t K = s.K, R = s.H / s.G;
  const Range seen = block.keys_of_rows(first, first + kStrip, u);
  const Range columns = seen.empty() ? Range{} : whole_vectors(seen);
  score_strip(columns, K, rows.q + first * K, tile.keys, rows.p + first * kTileKeys);
  score_strip(columns, K, rows.d_o + first * K, tile.values, rows.ds + first * kTileKeys);
  for (int64_t row = first; row < std::min(first + kStrip, block.rows()); ++row) {
    float *p = rows.p + row * kTileKeys, *ds = rows.ds + row * kTileKeys;
    const Range seen_by_row = block.keys_of_row(row, u), computed = seen_by_row.empty() ? Range{} : columns;
    clear_others(computed, p), clear_others(computed, ds);
    if (seen_by_row.empty()) continue;
    hide_masked(seen_by_row, columns, p);
    const int64_t from = row / R * s.H + row % R;
    gradient_row<E>(columns, lse[from], delta[from], p, ds);
  }
  if (!seen.empty())
    add_weighted_values(seen, K, padded_K, rows.ds + first * kTileKeys, tile.key_columns, rows.dq + first * padded_K);
}

// gradient [kTileKeys, K] (rows `stride` apart) += factor * weights^T rows, for the first `count` keys of the tile at
// u; weights [.., kTileKeys]. columns: the block's rows, packed by columns of K into panels of `padded_rows` rows.
HWY_INLINE void add_to_keys(const QueryBlock& block, int64_t u, int64_t count, int64_t K, float factor,
                            const float* weights, const float* columns, int64_t padded_rows, float* gradient,
                            int64_t stride) {
  const int64_t panel = panel_columns();
  for (int64_t k = 0; k < K; k += panel)
    for (int64_t key = 0; key < count; key += kStrip) {
      const Range rows = block.rows_of_keys(u + key, u + key + kStrip);
      if (rows.empty()) continue;
      const Left left{weights + rows.begin * kTileKeys + key, kTileKeys};
      const float* right = columns + k * padded_rows + rows.begin * panel;
      float* to = gradient + key * stride + k;
      const int64_t here = std::min(kStrip, count - key), width = std::min(panel, K - k);
      if (here == kStrip && width == panel)
        strip_product<Order::kColumns, true>(left, right, rows.size(), to, stride, factor);
      else if (here == kStrip && width == lanes())
        strip_product<Order::kColumns, true, kStrip, 1>(left, right, rows.size(), to, stride, factor);
      else
        edge_product<Order::kColumns, true>(left, right, rows.size(), here, width, to, stride, factor);
    }
}

template <typename E>
void backward(const AttentionSizes& s, const AttentionMask& mask, const E* q, const E* k, const E* v, const E* d_o,
              const float* lse, const float* delta, float* dq, float* dk, float* dv, Scratch& scratch) {
  const int64_t R = s.H / s.G, K = s.K, padded_K = round_up(K, panel_columns()), stride = s.G * K;
  const float scale = 1 / std::sqrt(static_cast<float>(K));
  QueryBlock block(mask, s.T, R);
  TileRing ring(mask, s.T, block.most_queries());
  const Range visible = visible_keys(mask, s.T);
  const int64_t most = round_up(block.most_rows(), kStrip), by_rows = kTileKeys * K, by_columns = kTileKeys * padded_K;
  scratch.reserve({ring.slots() * by_rows, ring.slots() * by_rows, ring.slots() * by_columns, most * K, most * K,
                   most * padded_K, most * padded_K, most * padded_K, most * kTileKeys, most * kTileKeys});
  float *key_tiles = scratch.take(ring.slots() * by_rows), *value_tiles = scratch.take(ring.slots() * by_rows);
  float* column_tiles = scratch.take(ring.slots() * by_columns);
  const BackwardRows rows{scratch.take(most * K),        scratch.take(most * K),        scratch.take(most * padded_K),
                          scratch.take(most * padded_K), scratch.take(most * padded_K), scratch.take(most * kTileKeys),
                          scratch.take(most * kTileKeys)};

  for (int64_t g = 0; g < s.G; ++g) {
    ring.start();
    for (int64_t t = 0; t < s.T; t += block.most_queries()) {
      block.move_to(t);
      const int64_t padded = round_up(block.rows(), kStrip), at = t * s.H + g * R;  // row of (t, r) in [T, H]
      const Range all{0, padded};
      gather_rows(q + at * K, s.H, R, K, block.queries(), padded, static_cast<float>(std::numbers::log2e) * scale,
                  rows.q);
      gather_rows(d_o + at * K, s.H, R, K, block.queries(), padded, 1, rows.d_o);
      pack_columns(rows.q, K, K, all, all, padded, rows.q_columns);
      pack_columns(rows.d_o, K, K, all, all, padded, rows.do_columns);
      std::fill(rows.dq, rows.dq + padded * padded_K, 0.0f);
      const Range keys = block.keys(), tiles = whole_tiles(keys);
      for (int64_t u = tiles.begin; u < tiles.end; u += kTileKeys) {
        const int64_t slot = ring.slot(u), from = u * stride + g * K;
        const KeyTile tile{key_tiles + slot * by_rows,
                           value_tiles + slot * by_rows,
                           column_tiles + slot * by_columns,
                           dk + from,
                           dv + from,
                           stride};
        if (ring.first_visit(u)) {
          pack_tile_by_rows(k + g * K, stride, K, visible, u, tile.keys);
          pack_tile_by_rows(v + g * K, stride, K, visible, u, tile.values);
          pack_tile_by_columns(k + g * K, stride, K, visible, u, tile.key_columns);
        }
        for (int64_t first = 0; first < block.rows(); first += kStrip)
          gradients_of_strip<E>(block, first, u, s, padded_K, lse + at, delta + at, tile, rows);
        const int64_t count = std::min(keys.end - u, kTileKeys);
        add_to_keys(block, u, count, K, 1, rows.p, rows.do_columns, padded, tile.dv, stride);
        constexpr float kBack = static_cast<float>(std::numbers::ln2);  // from q log2(e) / sqrt(K) to q / sqrt(K)
        add_to_keys(block, u, count, K, kBack, rows.ds, rows.q_columns, padded, tile.dk, stride);
      }
      const FloatVector by = hn::Set(Floats(), scale);
      for (int64_t row = 0; row < block.rows(); ++row) {
        float* to = dq + (at + row / R * s.H + row % R) * K;
        for_each_vector(K, [&](int64_t i, auto some) HWY_ATTR {
          store(hn::MulAdd(by, load(rows.dq + row * padded_K + i, some), load(to + i, some)), to + i, some);
        });
      }
    }
  }
}

void attention_backward(const AttentionMask& mask, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o,
                        const Tensor& lse, const Tensor& delta, const Tensor& dq, const Tensor& dk, const Tensor& dv,
                        Scratch& scratch) {
  by_element(q.dtype(), [&](auto element) HWY_ATTR {
    using E = decltype(element);
    backward(attention_sizes(q, k), mask, q.data<E>(), k.data<E>(), v.data<E>(), d_o.data<E>(), lse.data<float>(),
             delta.data<float>(), dq.data<float>(), dk.data<float>(), dv.data<float>(), scratch);
  });
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(delta_rows);
HWY_EXPORT(attention_backward);

void CpuBackend::attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta) {
  HWY_DYNAMIC_DISPATCH(delta_rows)(d_o, o, delta.data<float>());
}

void CpuBackend::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o,
                                    const Tensor& lse, const Tensor& delta, const AttentionSpan& span, const Tensor& dq,
                                    const Tensor& dk, const Tensor& dv) {
  const AttentionSizes s = attention_sizes(q, k);
  check_documents(s, span);
  if (s.T == 0 || s.U == 0) return;
  const AttentionMask mask(s, span);
  if (on_matrix_unit())
    return tiles::attention_backward(unit_, s, mask, q, k, v, d_o, lse, delta, dq, dk, dv, scratch_);
  HWY_DYNAMIC_DISPATCH(attention_backward)(mask, q, k, v, d_o, lse, delta, dq, dk, dv, scratch_);
}

}  // namespace ropewalk
#endif

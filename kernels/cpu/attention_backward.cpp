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

// out [U, .., K] (rows `stride` apart) += factor * weights^T rows, for the keys of the tile at u; weights [..,
// kTileKeys]. row_panels: the block's rows, packed by columns of K into panels of `padded_rows` rows.
HWY_INLINE void add_to_keys(const QueryBlock& block, Range keys, int64_t u, int64_t K, float factor,
                            const float* weights, const float* row_panels, int64_t padded_rows, float* out,
                            int64_t stride) {
  const int64_t panel = panel_columns(), end = std::min(keys.end - u, kTileKeys);
  for (int64_t k = 0; k < K; k += panel)
    for (int64_t key = 0; key < end; key += kStrip) {
      const Range rows = block.rows_of_keys(u + key, u + key + kStrip);
      if (rows.empty()) continue;
      const Left left{weights + rows.begin * kTileKeys + key, kTileKeys};
      const float* right = row_panels + k * padded_rows + rows.begin * panel;
      float* to = out + (u + key) * stride + k;
      const int64_t here = std::min(kStrip, end - key), columns = std::min(panel, K - k);
      if (here == kStrip && columns == panel)
        strip_product<Order::kColumns, true>(left, right, rows.size(), to, stride, factor);
      else if (here == kStrip && columns == lanes())
        strip_product<Order::kColumns, true, kStrip, 1>(left, right, rows.size(), to, stride, factor);
      else
        edge_product<Order::kColumns, true>(left, right, rows.size(), here, columns, to, stride, factor);
    }
}

template <typename E>
void backward(const AttentionSizes& s, const AttentionMask& mask, const E* q, const E* k, const E* v, const E* d_o,
              const float* lse, const float* delta, float* dq, float* dk, float* dv, Scratch& scratch) {
  const int64_t R = s.H / s.G, K = s.K, padded_K = round_up(K, panel_columns()), key_rows = round_up(s.U, kTileKeys);
  const float scale = 1 / std::sqrt(static_cast<float>(K));
  QueryBlock block(mask, s.T, R);
  const int64_t rows = round_up(block.most_rows(), kStrip);
  scratch.reserve({key_rows * K, key_rows * K, key_rows * padded_K, rows * K, rows * K, rows * padded_K,
                   rows * padded_K, rows * padded_K, rows * kTileKeys, rows * kTileKeys});
  float *key_panels = scratch.take(key_rows * K), *value_panels = scratch.take(key_rows * K);
  float* key_columns = scratch.take(key_rows * padded_K);
  float *q_rows = scratch.take(rows * K), *do_rows = scratch.take(rows * K);
  float *q_columns = scratch.take(rows * padded_K), *do_columns = scratch.take(rows * padded_K);
  float* dq_rows = scratch.take(rows * padded_K);
  float *p = scratch.take(rows * kTileKeys), *ds = scratch.take(rows * kTileKeys);
  const Range visible = visible_keys(mask, s.T), packed = whole_tiles(visible);
  if (visible.empty()) return;

  for (int64_t g = 0; g < s.G; ++g) {
    pack_rows_as_columns(k + g * K, s.G * K, K, visible, packed, key_panels);
    pack_rows_as_columns(v + g * K, s.G * K, K, visible, packed, value_panels);
    pack_columns(k + g * K, s.G * K, K, visible, packed, key_rows, key_columns);
    for (int64_t t = 0; t < s.T; t += block.most_queries()) {
      block.move_to(t);
      const int64_t padded = round_up(block.rows(), kStrip), at = t * s.H + g * R;  // row of (t, r) in [T, H]
      gather_rows(q + at * K, s.H, R, K, block.queries(), padded, q_rows);
      gather_rows(d_o + at * K, s.H, R, K, block.queries(), padded, do_rows);
      const Range all{0, padded};
      pack_columns(q_rows, K, K, all, all, padded, q_columns);
      pack_columns(do_rows, K, K, all, all, padded, do_columns);
      scaled_copy(padded * K, static_cast<float>(std::numbers::log2e * scale), q_rows, q_rows);
      std::fill(dq_rows, dq_rows + padded * padded_K, 0.0f);
      const Range keys = block.keys();
      for (int64_t u = keys.begin / kTileKeys * kTileKeys; u < keys.end; u += kTileKeys) {
        for (int64_t first = 0; first < block.rows(); first += kStrip) {
          const Range seen = block.keys_of_rows(first, first + kStrip, u);
          const Range columns = seen.empty() ? Range{} : whole_vectors(seen);
          float *p_strip = p + first * kTileKeys, *ds_strip = ds + first * kTileKeys;
          score_strip(columns, K, q_rows + first * K, key_panels + u * K, p_strip);
          score_strip(columns, K, do_rows + first * K, value_panels + u * K, ds_strip);
          for (int64_t row = first; row < std::min(first + kStrip, block.rows()); ++row) {
            float *p_row = p + row * kTileKeys, *ds_row = ds + row * kTileKeys;
            const Range of_row = block.keys_of_row(row, u), computed = of_row.empty() ? Range{} : columns;
            clear_others(computed, p_row), clear_others(computed, ds_row);
            if (of_row.empty()) continue;
            hide_masked(of_row, columns, p_row);
            const int64_t at_row = at + row / R * s.H + row % R;
            gradient_row<E>(columns, lse[at_row], delta[at_row], p_row, ds_row);
          }
          if (!seen.empty())
            add_weighted_values(seen, K, padded_K, ds_strip, key_columns, key_rows, u, dq_rows + first * padded_K);
        }
        add_to_keys(block, keys, u, K, 1, p, do_columns, padded, dv + g * K, s.G * K);
        add_to_keys(block, keys, u, K, scale, ds, q_columns, padded, dk + g * K, s.G * K);
      }
      const FloatVector by = hn::Set(Floats(), scale);
      for (int64_t row = 0; row < block.rows(); ++row) {
        float* to = dq + (at + row / R * s.H + row % R) * K;
        for_each_vector(K, [&](int64_t i, auto some) HWY_ATTR {
          store(hn::MulAdd(by, load(dq_rows + row * padded_K + i, some), load(to + i, some)), to + i, some);
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

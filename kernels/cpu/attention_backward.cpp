// Attention's backward by tiles (Dao, arXiv 2307.08691): P is computed again from lse, so nothing but lse is kept from
// the forward. Key rows gather their gradients in the order of the queries: the same call gives the same bits.
#include <numbers>

#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/sgemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_backward.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

// delta [count] = rowsum(d_o * o) over K
void delta_rows(int64_t count, int64_t K, const float* d_o, const float* o, float* delta) {
  for (int64_t row = 0; row < count; ++row)
    delta[row] = sum_of(K, [&](int64_t k, auto some) HWY_ATTR {
      return hn::Mul(load(d_o + row * K + k, some), load(o + row * K + k, some));
    });
}

// to [count queries, R, K] = factor * rows (t, r) of from
void pack_rows(const AttentionRows& rows, int64_t count, float factor, const float* from, float* to) {
  const int64_t row = rows.R * rows.K;
  for (int64_t t = 0; t < count; ++t) scaled_copy(row, factor, from + t * rows.H * rows.K, to + t * row);
}

// to (rows (t, r) of a tensor) += factor * from [count queries, R, K]
void unpack_rows(const AttentionRows& rows, int64_t count, float factor, const float* from, float* to) {
  const FloatVector by = hn::Set(Floats(), factor);
  for (int64_t t = 0; t < count; ++t) {
    const float* source = from + t * rows.R * rows.K;
    float* target = to + t * rows.H * rows.K;
    for_each_vector(rows.R * rows.K, [&](int64_t i, auto some) HWY_ATTR {
      store(hn::MulAdd(by, load(source + i, some), load(target + i, some)), target + i, some);
    });
  }
}

// scores become P = 2^(score - log2(e) lse), products (d_o v^T) become dS = P * (product - delta).
// lse and delta are those of the tile's first row (t, r) in [T, H].
void gradient_tile(const AttentionTile& tile, const AttentionMask& mask, const AttentionRows& rows, const float* lse,
                   const float* delta, float* scores, float* products) {
  const int64_t columns = padded_columns(tile);
  for (int64_t row = 0; row < tile.queries() * rows.R; ++row) {
    float *score = scores + row * kKeysPerTile, *product = products + row * kKeysPerTile;
    const int64_t query = row / rows.R, at = query * rows.H + row % rows.R;
    hide_masked(tile.keys_of(mask, tile.t_begin + query), columns, score);
    const FloatVector shift = hn::Set(Floats(), static_cast<float>(std::numbers::log2e * lse[at]));
    const FloatVector delta_row = hn::Set(Floats(), delta[at]);
    for_each_vector(columns, [&](int64_t u, auto some) HWY_ATTR {
      const FloatVector p = exp2_of(hn::Sub(load(score + u, some), shift));
      store(p, score + u, some);
      store(hn::Mul(p, hn::Sub(load(product + u, some), delta_row)), product + u, some);
    });
  }
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(delta_rows);
HWY_EXPORT(pack_rows);
HWY_EXPORT(unpack_rows);
HWY_EXPORT(gradient_tile);

void CpuKernels::attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta) {
  const AttentionDeltaSizes s = attention_delta_sizes(*this, d_o, o, delta);
  HWY_DYNAMIC_DISPATCH(delta_rows)(s.rows, s.K, d_o.data<float>(), o.data<float>(), delta.data<float>());
}

void CpuKernels::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o,
                                    const Tensor& lse, const Tensor& delta, const AttentionSpan& span, const Tensor& dq,
                                    const Tensor& dk, const Tensor& dv) {
  const AttentionSizes s = attention_backward_sizes(*this, q, k, v, d_o, lse, delta, span, dq, dk, dv);
  check_documents(s, span);
  if (s.T == 0 || s.U == 0) return;
  const AttentionMask mask(s, span);
  const AttentionRows rows(s);
  const int64_t R = rows.R, K = s.K, key_stride = s.G * K;
  const double scale = 1 / std::sqrt(static_cast<double>(K));
  const float q_factor = static_cast<float>(std::numbers::log2e * scale), ln2 = std::numbers::ln2_v<float>;
  scratch_.reserve({TransposedKeys::floats(s), TransposedKeys::floats(s), rows.count * K, rows.count * K,
                    rows.count * K, rows.count * kKeysPerTile, rows.count * kKeysPerTile});
  TransposedKeys keys(scratch_, s), values(scratch_, s);
  float *q_rows = scratch_.take(rows.count * K), *do_rows = scratch_.take(rows.count * K);
  float* dq_rows = scratch_.take(rows.count * K);
  float *p = scratch_.take(rows.count * kKeysPerTile), *ds = scratch_.take(rows.count * kKeysPerTile);

  const SingleThread single_thread;
  for (int64_t g = 0; g < s.G; ++g) {
    keys.pack(k.data<float>(), g, visible_to_any(s, mask));
    values.pack(v.data<float>(), g, visible_to_any(s, mask));
    for (int64_t t = 0; t < s.T; t += rows.queries) {
      const int64_t end = std::min(s.T, t + rows.queries), at = rows.at(t, g);
      HWY_DYNAMIC_DISPATCH(pack_rows)(rows, end - t, q_factor, q.data<float>() + at * K, q_rows);
      HWY_DYNAMIC_DISPATCH(pack_rows)(rows, end - t, 1, d_o.data<float>() + at * K, do_rows);
      std::fill_n(dq_rows, (end - t) * R * K, 0.0f);
      for_each_tile(mask, t, end, kKeysPerTile, [&](const AttentionTile& tile) {
        const int64_t first = (tile.t_begin - t) * R, count = tile.queries() * R, columns = tile.keys();
        const int64_t at_key = tile.u_begin * key_stride + g * K, at_row = rows.at(tile.t_begin, g);
        sgemm(count, columns, K, 1, {q_rows + first * K, K}, {keys.columns(tile.u_begin), kKeysPerTile}, 0, p,
              kKeysPerTile);
        sgemm(count, columns, K, 1, {do_rows + first * K, K}, {values.columns(tile.u_begin), kKeysPerTile}, 0, ds,
              kKeysPerTile);
        HWY_DYNAMIC_DISPATCH(gradient_tile)
        (tile, mask, rows, lse.data<float>() + at_row, delta.data<float>() + at_row, p, ds);
        sgemm(columns, K, count, 1, {p, kKeysPerTile, Transpose::kYes}, {do_rows + first * K, K}, 1,
              dv.data<float>() + at_key, key_stride);
        sgemm(columns, K, count, ln2, {ds, kKeysPerTile, Transpose::kYes}, {q_rows + first * K, K}, 1,
              dk.data<float>() + at_key, key_stride);  // ln(2) takes back the log2(e) in q_rows
        sgemm(count, K, columns, 1, {ds, kKeysPerTile}, {k.data<float>() + at_key, key_stride}, 1, dq_rows + first * K,
              K);
      });
      HWY_DYNAMIC_DISPATCH(unpack_rows)
      (rows, end - t, static_cast<float>(scale), dq_rows, dq.data<float>() + at * K);
    }
  }
}

}  // namespace ropewalk
#endif

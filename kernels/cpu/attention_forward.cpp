// Attention's forward by tiles (Dao, arXiv 2307.08691). Scores exist one tile at a time and in units of log 2: the
// queries are multiplied by log2(e) / sqrt(K) beforehand.
#include <numbers>

#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/sgemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_forward.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

// Rows (t, r) of `count` queries, scaled; running softmax of nothing.
void start_rows(const AttentionRows& rows, int64_t count, float factor, const float* q, float* q_rows, float* o,
                float* row_max, float* row_sum) {
  const int64_t R = rows.R, K = rows.K;
  for (int64_t t = 0; t < count; ++t) scaled_copy(R * K, factor, q + t * rows.H * K, q_rows + t * R * K);
  std::fill(o, o + count * R * K, 0.0f);
  std::fill(row_max, row_max + count * R, -std::numeric_limits<float>::infinity());
  std::fill(row_sum, row_sum + count * R, 0.0f);
}

// Takes the scores of a tile into the running softmax: scores become P = 2^(score - max); sum and o shrink where the
// maximum grew, and sum takes in P. (o takes in P v in the product that follows.)
void softmax_tile(const AttentionTile& tile, const AttentionMask& mask, const AttentionRows& rows, float* scores,
                  float* o, float* row_max, float* row_sum) {
  const int64_t columns = padded_columns(tile);
  for (int64_t row = 0; row < tile.queries() * rows.R; ++row) {
    float* score = scores + row * kKeysPerTile;
    hide_masked(tile.keys_of(mask, tile.t_begin + row / rows.R), columns, score);
    const float before = row_max[row];
    const float largest =
        std::max(before, max_of(columns, [&](int64_t u, auto some) HWY_ATTR { return load(score + u, some); }));
    const FloatVector shift = hn::Set(Floats(), largest);
    const float sum = sum_of(columns, [&](int64_t u, auto some) HWY_ATTR {
      const FloatVector p = exp2_of(hn::Sub(load(score + u, some), shift));
      store(p, score + u, some);
      return p;
    });
    if (largest > before) {
      const float shrink = hn::GetLane(exp2_of(hn::Set(Floats(), before - largest)));
      row_max[row] = largest;
      row_sum[row] *= shrink;
      scaled_copy(rows.K, shrink, o + row * rows.K, o + row * rows.K);
    }
    row_sum[row] += sum;
  }
}

// Merges one row of this piece, o' = row_o / row_sum with lse' = ln(2) row_max + log(row_sum), into (o, lse):
// L = log(exp(lse) + exp(lse')),  o = exp(lse - L) o + exp(lse' - L) o'.
void merge_row(int64_t K, const float* row_o, double row_max, double row_sum, float* o, float* lse) {
  const double before = *lse, piece = std::numbers::ln2 * row_max + std::log(row_sum);
  const double base = before > piece ? before : piece;
  const bool first = before == -std::numeric_limits<double>::infinity();
  const double all = first ? piece : base + std::log(std::exp(before - base) + std::exp(piece - base));
  const FloatVector keep = hn::Set(Floats(), first ? 0.0f : static_cast<float>(std::exp(before - all)));
  const FloatVector take = hn::Set(Floats(), static_cast<float>((first ? 1 : std::exp(piece - all)) / row_sum));
  for_each_vector(K, [&](int64_t k, auto some) HWY_ATTR {
    store(hn::MulAdd(keep, load(o + k, some), hn::Mul(take, load(row_o + k, some))), o + k, some);
  });
  *lse = static_cast<float>(all);
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(start_rows);
HWY_EXPORT(softmax_tile);
HWY_EXPORT(merge_row);

void CpuKernels::attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span,
                                   const Tensor& o, const Tensor& lse) {
  const AttentionSizes s = attention_forward_sizes(*this, q, k, v, span, o, lse);
  check_documents(s, span);
  if (s.T == 0 || s.U == 0) return;
  const AttentionMask mask(s, span);
  const AttentionRows rows(s);
  const int64_t R = rows.R, K = s.K;
  const float factor = static_cast<float>(std::numbers::log2e / std::sqrt(static_cast<double>(K)));
  scratch_.reserve(
      {TransposedKeys::floats(s), rows.count * K, rows.count * K, rows.count * kKeysPerTile, rows.count, rows.count});
  TransposedKeys keys(scratch_, s);
  float *q_rows = scratch_.take(rows.count * K), *o_rows = scratch_.take(rows.count * K);
  float* scores = scratch_.take(rows.count * kKeysPerTile);
  float *row_max = scratch_.take(rows.count), *row_sum = scratch_.take(rows.count);

  const SingleThread single_thread;
  for (int64_t g = 0; g < s.G; ++g) {
    keys.pack(k.data<float>(), g, visible_to_any(s, mask));
    const float* values = v.data<float>() + g * K;
    for (int64_t t = 0; t < s.T; t += rows.queries) {
      const int64_t end = std::min(s.T, t + rows.queries);
      HWY_DYNAMIC_DISPATCH(start_rows)
      (rows, end - t, factor, q.data<float>() + rows.at(t, g) * K, q_rows, o_rows, row_max, row_sum);
      for_each_tile(mask, t, end, kKeysPerTile, [&](const AttentionTile& tile) {
        const int64_t first = (tile.t_begin - t) * R, count = tile.queries() * R;
        sgemm(count, tile.keys(), K, 1, {q_rows + first * K, K}, {keys.columns(tile.u_begin), kKeysPerTile}, 0, scores,
              kKeysPerTile);
        HWY_DYNAMIC_DISPATCH(softmax_tile)
        (tile, mask, rows, scores, o_rows + first * K, row_max + first, row_sum + first);
        sgemm(count, K, tile.keys(), 1, {scores, kKeysPerTile}, {values + tile.u_begin * s.G * K, s.G * K}, 1,
              o_rows + first * K, K);
      });
      for (int64_t row = 0; row < (end - t) * R; ++row) {
        const VisibleKeys seen = mask.of_query(t + row / R);
        if (seen.begin >= seen.end) continue;
        const int64_t at = rows.at(t + row / R, g) + row % R;
        HWY_DYNAMIC_DISPATCH(merge_row)
        (K, o_rows + row * K, row_max[row], row_sum[row], o.data<float>() + at * K, lse.data<float>() + at);
      }
    }
  }
}

}  // namespace ropewalk
#endif

// Attention's forward by tiles (Dao, arXiv 2307.08691). Scores exist one tile at a time and in log2 units: the queries
// are multiplied by log2(e) / sqrt(K) beforehand.
#include <numbers>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/tiles/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_forward.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

// Online softmax of a row in one tile: these columns of its scores become P = 2^(score - base), and P is added to
// `sums`, one for each lane. If a score exceeds the base by more than kSlack, the base first becomes the row's largest
// score in this tile, and sums and o are rescaled: a base that is a little too small does no harm, so it seldom moves.
// (The product that follows adds P v to o, with P rounded to v's type E.) In fp32 P is at most 2^8. In bf16 the largest
// P must be 1, which is exact: where one key dominates, the rounding of its P would not cancel against the unrounded
// sum.
template <typename E>
constexpr float kSlack = std::is_same_v<E, float> ? 8 : 0;
template <typename E>
HWY_INLINE void softmax_row(Range columns, int64_t padded_K, float* score, float* base, float* sums, float* o) {
  const Floats d;
  FloatVector largest = hn::Set(d, hwy::LowestValue<float>());
  for (int64_t i = columns.begin; i < columns.end; i += lanes()) largest = hn::Max(largest, hn::LoadU(d, score + i));
  if (!hn::AllTrue(d, hn::Le(largest, hn::Set(d, *base + kSlack<E>)))) {
    const float before = *base;
    *base = hn::GetLane(hn::MaxOfLanes(d, largest));  // may drop a NaN, which the sum of exponentials brings back
    const float shrink = hn::GetLane(exp2_of(hn::Set(d, before - *base)));
    scaled_copy(lanes(), shrink, sums, sums);
    scaled_copy(padded_K, shrink, o, o);
  }
  const FloatVector shift = hn::Set(d, *base);
  FloatVector sum = hn::LoadU(d, sums);
  for (int64_t i = columns.begin; i < columns.end; i += lanes()) {
    const FloatVector p = exp2_of_bounded(hn::Sub(hn::LoadU(d, score + i), shift));
    hn::StoreU(rounded_to<E>(p), d, score + i);
    sum = hn::Add(sum, p);
  }
  hn::StoreU(sum, d, sums);
}

// Merges one row of this piece, o' = row_o / row_sum with lse' = ln(2) row_base + log(row_sum), into (o, lse):
// L = log(exp(lse) + exp(lse')),  o = exp(lse - L) o + exp(lse' - L) o'.
HWY_INLINE void merge_row(int64_t K, const float* row_o, double row_base, double row_sum, float* o, float* lse) {
  const double before = *lse, piece = std::numbers::ln2 * row_base + std::log(row_sum);
  if (before == -std::numeric_limits<double>::infinity()) {
    scaled_copy(K, static_cast<float>(1 / row_sum), row_o, o);
    *lse = static_cast<float>(piece);
    return;
  }
  const double base = before > piece ? before : piece;
  const double all = base + std::log(std::exp(before - base) + std::exp(piece - base));
  const FloatVector keep = hn::Set(Floats(), static_cast<float>(std::exp(before - all)));
  const FloatVector take = hn::Set(Floats(), static_cast<float>(std::exp(piece - all) / row_sum));
  for_each_vector(K, [&](int64_t k, auto some) HWY_ATTR {
    store(hn::MulAdd(keep, load(o + k, some), hn::Mul(take, load(row_o + k, some))), o + k, some);
  });
  *lse = static_cast<float>(all);
}

template <typename E>
void forward(const AttentionSizes& s, const AttentionMask& mask, const E* q, const E* k, const E* v, float* o,
             float* lse, Scratch& scratch) {
  const int64_t R = s.H / s.G, K = s.K, padded_K = round_up(K, panel_columns()), key_rows = round_up(s.U, kTileKeys);
  const float factor = static_cast<float>(std::numbers::log2e / std::sqrt(static_cast<double>(K)));
  QueryBlock block(mask, s.T, R);
  const int64_t rows = round_up(block.most_rows(), kStrip);
  scratch.reserve(
      {key_rows * K, key_rows * padded_K, rows * K, rows * padded_K, kStrip * kTileKeys, rows, rows * lanes()});
  float *key_panels = scratch.take(key_rows * K), *value_panels = scratch.take(key_rows * padded_K);
  float *q_rows = scratch.take(rows * K), *o_rows = scratch.take(rows * padded_K);
  float *scores = scratch.take(kStrip * kTileKeys), *row_base = scratch.take(rows);
  float* row_sums = scratch.take(rows * lanes());
  const Range visible = visible_keys(mask, s.T), packed = whole_tiles(visible);
  if (visible.empty()) return;

  for (int64_t g = 0; g < s.G; ++g) {
    pack_rows_as_columns(k + g * K, s.G * K, K, visible, packed, key_panels);
    pack_columns(v + g * K, s.G * K, K, visible, packed, key_rows, value_panels);
    for (int64_t t = 0; t < s.T; t += block.most_queries()) {
      block.move_to(t);
      const int64_t padded = round_up(block.rows(), kStrip), at = t * s.H + g * R;  // row of (t, r) in [T, H]
      gather_rows(q + at * K, s.H, R, K, block.queries(), padded, q_rows);
      scaled_copy(padded * K, factor, q_rows, q_rows);
      std::fill(o_rows, o_rows + padded * padded_K, 0.0f);
      std::fill(row_base, row_base + padded, -std::numeric_limits<float>::infinity());
      std::fill(row_sums, row_sums + padded * lanes(), 0.0f);
      const Range keys = block.keys();
      for (int64_t u = keys.begin / kTileKeys * kTileKeys; u < keys.end; u += kTileKeys)
        for (int64_t first = 0; first < block.rows(); first += kStrip) {
          const Range seen = block.keys_of_rows(first, first + kStrip, u), columns = whole_vectors(seen);
          if (seen.empty()) continue;
          score_strip(columns, K, q_rows + first * K, key_panels + u * K, scores);
          for (int64_t row = first; row < std::min(first + kStrip, block.rows()); ++row) {
            float* score = scores + (row - first) * kTileKeys;
            const Range of_row = block.keys_of_row(row, u);
            if (of_row.empty()) {
              std::fill(score + columns.begin, score + columns.end, 0.0f);
              continue;
            }
            hide_masked(of_row, columns, score);
            softmax_row<E>(columns, padded_K, score, row_base + row, row_sums + row * lanes(), o_rows + row * padded_K);
          }
          add_weighted_values(seen, K, padded_K, scores, value_panels, key_rows, u, o_rows + first * padded_K);
        }
      for (int64_t query = 0; query < block.queries(); ++query)
        for (int64_t r = 0; r < R; ++r) {
          const int64_t row = query * R + r, to = at + query * s.H + r;
          const float sum = hn::GetLane(hn::SumOfLanes(Floats(), hn::LoadU(Floats(), row_sums + row * lanes())));
          if (sum != 0) merge_row(K, o_rows + row * padded_K, row_base[row], sum, o + to * K, lse + to);
        }
    }
  }
}

void attention_forward(const AttentionMask& mask, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o,
                       const Tensor& lse, Scratch& scratch) {
  by_element(q.dtype(), [&](auto element) HWY_ATTR {
    using E = decltype(element);
    forward(attention_sizes(q, k), mask, q.data<E>(), k.data<E>(), v.data<E>(), o.data<float>(), lse.data<float>(),
            scratch);
  });
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(attention_forward);

void CpuBackend::attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span,
                                   const Tensor& o, const Tensor& lse) {
  const AttentionSizes s = attention_sizes(q, k);
  check_documents(s, span);
  if (s.T == 0 || s.U == 0) return;
  const AttentionMask mask(s, span);
  if (on_matrix_unit()) return tiles::attention_forward(unit_, s, mask, q, k, v, o, lse, scratch_);
  HWY_DYNAMIC_DISPATCH(attention_forward)(mask, q, k, v, o, lse, scratch_);
}

}  // namespace ropewalk
#endif

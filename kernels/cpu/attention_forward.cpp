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

// The rows of a block: [.., K] queries, [.., padded_K] sums of P v, and of each row its base and a sum for each lane.
struct ForwardRows {
  float *q, *o, *base, *sums;
};

// Adds a tile of keys and values to a strip of rows that begins at row `first`.
template <typename E>
HWY_INLINE void attend(const QueryBlock& block, int64_t first, int64_t u, int64_t K, int64_t padded_K,
                       const float* keys, const float* values, float* scores, const ForwardRows& rows) {
  const Range seen = block.keys_of_rows(first, first + kStrip, u);
  if (seen.empty()) return;
  const Range columns = whole_vectors(seen);
  score_strip(columns, K, rows.q + first * K, keys, scores);
  for (int64_t row = first; row < std::min(first + kStrip, block.rows()); ++row) {
    float* score = scores + (row - first) * kTileKeys;
    const Range seen_by_row = block.keys_of_row(row, u);
    if (seen_by_row.empty()) {
      std::fill(score + columns.begin, score + columns.end, 0.0f);
      continue;
    }
    hide_masked(seen_by_row, columns, score);
    softmax_row<E>(columns, padded_K, score, rows.base + row, rows.sums + row * lanes(), rows.o + row * padded_K);
  }
  add_weighted_values(seen, K, padded_K, scores, values, rows.o + first * padded_K);
}

template <typename E>
void forward(const AttentionSizes& s, const AttentionMask& mask, const E* q, const E* k, const E* v, float* o,
             float* lse, Scratch& scratch) {
  const int64_t R = s.H / s.G, K = s.K, padded_K = round_up(K, panel_columns());
  const float factor = static_cast<float>(std::numbers::log2e / std::sqrt(static_cast<double>(K)));
  QueryBlock block(mask, s.T, R);
  TileRing ring(mask, s.T, block.most_queries());
  const Range visible = visible_keys(mask, s.T);
  const int64_t most = round_up(block.most_rows(), kStrip), key_tile = kTileKeys * K, value_tile = kTileKeys * padded_K;
  scratch.reserve({ring.slots() * key_tile, ring.slots() * value_tile, most * K, most * padded_K, most, most * lanes(),
                   kStrip * kTileKeys});
  float *key_tiles = scratch.take(ring.slots() * key_tile), *value_tiles = scratch.take(ring.slots() * value_tile);
  const ForwardRows rows{scratch.take(most * K), scratch.take(most * padded_K), scratch.take(most),
                         scratch.take(most * lanes())};
  float* scores = scratch.take(kStrip * kTileKeys);

  for (int64_t g = 0; g < s.G; ++g) {
    ring.start();
    for (int64_t t = 0; t < s.T; t += block.most_queries()) {
      block.move_to(t);
      const int64_t padded = round_up(block.rows(), kStrip), at = t * s.H + g * R;  // row of (t, r) in [T, H]
      gather_rows(q + at * K, s.H, R, K, block.queries(), padded, factor, rows.q);
      std::fill(rows.o, rows.o + padded * padded_K, 0.0f);
      std::fill(rows.base, rows.base + padded, -std::numeric_limits<float>::infinity());
      std::fill(rows.sums, rows.sums + padded * lanes(), 0.0f);
      const Range tiles = whole_tiles(block.keys());
      for (int64_t u = tiles.begin; u < tiles.end; u += kTileKeys) {
        float *keys = key_tiles + ring.slot(u) * key_tile, *values = value_tiles + ring.slot(u) * value_tile;
        if (ring.first_visit(u)) {
          pack_tile_by_rows(k + g * K, s.G * K, K, visible, u, keys);
          pack_tile_by_columns(v + g * K, s.G * K, K, visible, u, values);
        }
        for (int64_t first = 0; first < block.rows(); first += kStrip)
          attend<E>(block, first, u, K, padded_K, keys, values, scores, rows);
      }
      for (int64_t row = 0; row < block.rows(); ++row) {
        const int64_t to = at + row / R * s.H + row % R;
        const float sum = hn::GetLane(hn::SumOfLanes(Floats(), hn::LoadU(Floats(), rows.sums + row * lanes())));
        if (sum != 0) merge_row(K, rows.o + row * padded_K, rows.base[row], sum, o + to * K, lse + to);
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

// Attention's forward by tiles (Dao, arXiv 2307.08691). A block of query rows visits the keys in chunks, so that a
// chunk's keys and values stay in L2 for all groups of the block.
#include "kernels/cpu/tiles/attention-inl.h"
#include "kernels/cpu/tiles/attention.h"
#include "kernels/error.h"

ROPEWALK_BEFORE_TILES
namespace ropewalk::tiles {
namespace {

constexpr int64_t kGroups = 8;        // of a block: 256 query rows
constexpr int64_t kChunkBlocks = 16;  // 512 keys

// The softmax of a group so far. Scores are in log2 units: S log2(e) / sqrt(K). The base is raised only when a score
// exceeds it by more than kSlack, so P is at most 2^kSlack, and the output is seldom rescaled.
constexpr float kSlack = 8;
struct State {
  Group group;
  alignas(64) float base[kSide], sum[kSide];
  // The sums of P rounded to bf16, by which the output is divided: where one key dominates, its rounding cancels. In
  // the order of the output's columns.
  alignas(64) float rounded_sum[kSide];

  void start() {
    std::fill_n(base, kSide, -1e30f);  // finite: a masked score minus the base is -infinity
    std::fill_n(sum, kSide, 0.0f);
    std::fill_n(rounded_sum, kSide, 0.0f);
  }
};

template <class Unit>
class Forward {
 public:
  Forward(const Problem& p, float* o, float* lse, Scratch& scratch)
      : p_(p),
        o_(o),
        lse_(lse),
        factor_(static_cast<float>(std::numbers::log2e / std::sqrt(static_cast<double>(p.s.K)))) {
    const int64_t operand = p.blocks.size() * p.steps * kStep / 2, q_floats = p.steps * kStep / 2;  // in floats
    const int64_t out = kGroups * p.padded_K * kSide, row = kSide * p.padded_K;
    scratch.reserve({operand, operand, kGroups * q_floats, q_floats, out, row, 2 * kBlock, kChunkBlocks * kStep / 2});
    keys_ = bf16(scratch.take(operand)), values_ = bf16(scratch.take(operand));
    queries_ = bf16(scratch.take(kGroups * q_floats)), gathered_ = bf16(scratch.take(q_floats));
    out_ = scratch.take(out), rows_ = scratch.take(row);
    scores_ = scratch.take(2 * kBlock), weights_ = bf16(scratch.take(kChunkBlocks * kStep / 2));
  }

  void head(int64_t g, const BFloat16* q, const BFloat16* k, const BFloat16* v) {
    const Rows keys = p_.keys_of(k, g), values = p_.keys_of(v, g);
    for (int64_t block = 0; block < p_.blocks.size(); ++block)
      pack_left(keys, block * kSide, keys_ + block * p_.steps * kStep);
    for (int64_t strip = 0; strip < p_.steps; ++strip)
      pack_left_of_columns(values, strip * kSide, values_ + strip * p_.blocks.size() * kStep);
    for (int64_t row = 0; row < p_.rows; row += kGroups * kSide) query_block(g, row, q);
  }

 private:
  static BFloat16* bf16(float* part) { return reinterpret_cast<BFloat16*>(part); }

  void query_block(int64_t g, int64_t first_row, const BFloat16* q) {
    const int64_t groups = std::min(kGroups, (p_.rows - first_row + kSide - 1) / kSide);
    Range blocks{p_.blocks.end, 0};
    for (int64_t i = 0; i < groups; ++i) {
      State& state = states_[i];
      state.group.find(p_, first_row + i * kSide);
      state.start();
      if (state.group.blocks.empty()) continue;
      blocks = {std::min(blocks.begin, state.group.blocks.begin), std::max(blocks.end, state.group.blocks.end)};
      gather(p_, q, g, first_row + i * kSide, gathered_);
      pack_right_of_rows({gathered_, p_.s.K, kSide, p_.s.K}, 0, queries_ + i * p_.steps * kStep);
    }
    std::fill_n(out_, groups * p_.padded_K * kSide, 0.0f);
    for (int64_t chunk = blocks.begin; chunk < blocks.end; chunk += kChunkBlocks)
      for (int64_t i = 0; i < groups; ++i) {
        const Range seen = states_[i].group.blocks;
        visit({std::max(chunk, seen.begin), std::min(chunk + kChunkBlocks, seen.end)}, states_[i],
              queries_ + i * p_.steps * kStep, out_ + i * p_.padded_K * kSide);
      }
    for (int64_t i = 0; i < groups; ++i) merge(g, first_row + i * kSide, states_[i], out_ + i * p_.padded_K * kSide);
  }

  // The group's attention over some blocks of keys. The next block's scores are issued to the unit before the
  // processor works on this block's, so that both work at once.
  void visit(Range blocks, State& state, const BFloat16* queries, float* out) {
    if (blocks.empty()) return;
    const auto scores_of = [&](int64_t block) { return scores_ + block % 2 * kBlock; };
    int64_t first = blocks.begin;  // the first block whose weights are not yet multiplied by the values
    score(blocks.begin, queries, scores_of(blocks.begin));
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      if (block + 1 < blocks.end) score(block + 1, queries, scores_of(block + 1));
      float* const scores = scores_of(block);
      if (!state.group.sees_whole(block)) hide_masked(state.group, block, scores);
      if (raise_base(scores, state)) {
        add_values({first, block}, out);
        rescale(state, out);
        first = block;
      }
      weigh(scores, state, weights_ + (block - first) * kStep);
    }
    add_values({first, blocks.end}, out);
  }

  void score(int64_t block, const BFloat16* queries, float* scores) {
    Unit::template multiply<false>(p_.steps, keys_ + (block - p_.blocks.begin) * p_.steps * kStep, queries, scores,
                                   kSide);
  }

  // Whether some row's base had to be raised; shrink_ then has the factors of its sum and output.
  bool raise_base(const float* scores, State& state) {
    bool raised = false;
    for (int64_t lane = 0; lane < kSide; lane += 16) {
      __m512 a = _mm512_load_ps(scores + lane), b = _mm512_load_ps(scores + kSide + lane);
      for (int64_t key = 2; key < kSide; key += 2) {
        a = _mm512_max_ps(a, _mm512_load_ps(scores + key * kSide + lane));
        b = _mm512_max_ps(b, _mm512_load_ps(scores + (key + 1) * kSide + lane));
      }
      const __m512 largest = _mm512_mul_ps(_mm512_max_ps(a, b), _mm512_set1_ps(factor_));
      const __m512 base = _mm512_load_ps(state.base + lane);
      const __mmask16 above = _mm512_cmp_ps_mask(largest, _mm512_add_ps(base, _mm512_set1_ps(kSlack)), _CMP_GT_OQ);
      const __m512 next = _mm512_mask_mov_ps(base, above, largest);
      _mm512_store_ps(shrink_ + lane, exp2_of(_mm512_sub_ps(base, next)));
      _mm512_store_ps(state.base + lane, next);
      raised = raised || above != 0;
    }
    return raised;
  }

  void rescale(State& state, float* out) {
    for (int64_t lane = 0; lane < kSide; lane += 16)
      _mm512_store_ps(state.sum + lane,
                      _mm512_mul_ps(_mm512_load_ps(state.sum + lane), _mm512_load_ps(shrink_ + lane)));
    alignas(64) float by[kSide];  // in the order of out's columns
    for (int64_t column = 0; column < kSide; ++column) by[column] = shrink_[row_of_column(column)];
    const __m512 low = _mm512_load_ps(by), high = _mm512_load_ps(by + 16);
    _mm512_store_ps(state.rounded_sum, _mm512_mul_ps(low, _mm512_load_ps(state.rounded_sum)));
    _mm512_store_ps(state.rounded_sum + 16, _mm512_mul_ps(high, _mm512_load_ps(state.rounded_sum + 16)));
    for (int64_t k = 0; k < p_.padded_K; ++k, out += kSide) {
      _mm512_store_ps(out, _mm512_mul_ps(low, _mm512_load_ps(out)));
      _mm512_store_ps(out + 16, _mm512_mul_ps(high, _mm512_load_ps(out + 16)));
    }
  }

  // weights: P = 2^(score - base), a step of a right operand; adds P to the rows' sums.
  void weigh(const float* scores, State& state, BFloat16* weights) {
    const __m512 factor = _mm512_set1_ps(factor_);
    const __m512 base0 = _mm512_load_ps(state.base), base1 = _mm512_load_ps(state.base + 16);
    __m512 sum0 = _mm512_load_ps(state.sum), sum1 = _mm512_load_ps(state.sum + 16);
    __m512 rounded0 = _mm512_load_ps(state.rounded_sum), rounded1 = _mm512_load_ps(state.rounded_sum + 16);
    const auto ones = (__m512bh)_mm512_set1_epi16(0x3f80);
    for (int64_t pair = 0; pair < 16; ++pair, scores += 2 * kSide) {
      const auto p = [&](int64_t at, __m512 base) {
        return exp2_of(_mm512_fmsub_ps(_mm512_load_ps(scores + at), factor, base));
      };
      const __m512 even0 = p(0, base0), even1 = p(16, base1), odd0 = p(kSide, base0), odd1 = p(kSide + 16, base1);
      sum0 = _mm512_add_ps(sum0, _mm512_add_ps(even0, odd0));
      sum1 = _mm512_add_ps(sum1, _mm512_add_ps(even1, odd1));
      const Interleaved rounded = store_pairs(to_bf16(even0, even1), to_bf16(odd0, odd1), pair, weights);
      rounded0 = _mm512_dpbf16_ps(rounded0, (__m512bh)rounded.low, ones);
      rounded1 = _mm512_dpbf16_ps(rounded1, (__m512bh)rounded.high, ones);
    }
    _mm512_store_ps(state.rounded_sum, rounded0), _mm512_store_ps(state.rounded_sum + 16, rounded1);
    _mm512_store_ps(state.sum, sum0), _mm512_store_ps(state.sum + 16, sum1);
  }

  // out [padded_K, 32] += V^T P^T over some blocks of keys, whose weights begin at weights_
  void add_values(Range blocks, float* out) {
    if (blocks.empty()) return;
    for (int64_t strip = 0; strip < p_.steps; ++strip)
      Unit::template multiply<true>(blocks.size(),
                                    values_ + (strip * p_.blocks.size() + blocks.begin - p_.blocks.begin) * kStep,
                                    weights_, out + strip * kBlock, kSide);
  }

  // Merges the group's rows o' = out / rounded_sum, lse' = ln(2) base + log(sum) into (o, lse), as in kernels.h.
  void merge(int64_t g, int64_t first_row, const State& state, const float* out) {
    if (state.group.blocks.empty()) return;
    transpose_columns(out, p_.padded_K, rows_);
    float rounded_sum[kSide];
    for (int64_t column = 0; column < kSide; ++column) rounded_sum[row_of_column(column)] = state.rounded_sum[column];
    for (int64_t i = 0; i < std::min(kSide, p_.rows - first_row); ++i) {
      if (state.sum[i] == 0) continue;  // sees none of these keys
      const int64_t at = p_.memory_row(g, first_row + i);
      const double before = lse_[at];
      const double piece =
          std::numbers::ln2 * static_cast<double>(state.base[i]) + std::log(static_cast<double>(state.sum[i]));
      const bool is_first = before == -std::numeric_limits<double>::infinity();
      const double largest = before > piece ? before : piece;
      const double all = is_first ? piece : largest + std::log(std::exp(before - largest) + std::exp(piece - largest));
      const __m512 keep = _mm512_set1_ps(is_first ? 0 : static_cast<float>(std::exp(before - all)));
      const __m512 take =
          _mm512_set1_ps(static_cast<float>(std::exp(piece - all) / static_cast<double>(rounded_sum[i])));
      lse_[at] = static_cast<float>(all);
      const float* const from = rows_ + i * p_.padded_K;
      float* const to = o_ + at * p_.s.K;
      for (int64_t k = 0; k < p_.s.K; k += 16) {
        const auto here = static_cast<__mmask16>(first_of_32(std::min<int64_t>(p_.s.K - k, 16)));
        __m512 x = _mm512_mul_ps(take, _mm512_load_ps(from + k));
        if (!is_first) x = _mm512_fmadd_ps(keep, _mm512_maskz_loadu_ps(here, to + k), x);  // o may be anything at first
        _mm512_mask_storeu_ps(to + k, here, x);
      }
    }
  }

  const Problem& p_;
  float *o_, *lse_;
  float factor_;
  State states_[kGroups];
  BFloat16* keys_;     // left operands of 32 keys each, inner dimension K
  BFloat16* values_;   // left operands of 32 columns of K each, inner dimension: the keys
  BFloat16* queries_;  // a right operand for each group, inner dimension K
  BFloat16* gathered_;
  float* out_;  // [padded_K, 32] of each group, transposed; columns in the order of row_of_column
  float* rows_;
  float* scores_;      // of two blocks
  BFloat16* weights_;  // a right operand, inner dimension: the keys of a chunk
  alignas(64) float shrink_[kSide];
};

template <class Unit>
void forward(const Problem& p, const BFloat16* q, const BFloat16* k, const BFloat16* v, float* o, float* lse,
             Scratch& scratch) {
  Forward<Unit> forward(p, o, lse, scratch);
  [[maybe_unused]] const typename Unit::Session session;
  for (int64_t g = 0; g < p.s.G; ++g) forward.head(g, q, k, v);
}

}  // namespace

void attention_forward(MatrixUnit unit, const AttentionSizes& s, const AttentionMask& mask, const Tensor& q,
                       const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse, Scratch& scratch) {
  const Problem p(s, mask);
  if (p.blocks.empty()) return;
  CHECK(unit != MatrixUnit::kVectors, "attention in vectors");
  (unit == MatrixUnit::kTiles ? forward<Amx> : forward<DotProducts>)(p, q.data<BFloat16>(), k.data<BFloat16>(),
                                                                     v.data<BFloat16>(), o.data<float>(),
                                                                     lse.data<float>(), scratch);
}

}  // namespace ropewalk::tiles
ROPEWALK_AFTER_TILES

// Attention's backward by tiles (Dao, arXiv 2307.08691): P is recomputed from lse. A block of query rows visits the
// keys in chunks. For each block of 32 keys, P^T and dS^T of all its groups become left operands, whose products with
// d_o and q are added to dv and dk; dS^T also becomes a right operand, whose product with k is added to dq^T after each
// chunk. The gradients of a key are added in the order of the queries, so the same call gives the same bits.
#include "kernels/cpu/tiles/attention-inl.h"
#include "kernels/cpu/tiles/attention.h"
#include "kernels/error.h"

ROPEWALK_BEFORE_TILES
namespace ropewalk::tiles {
namespace {

constexpr int64_t kGroups = 8;       // of a block: 256 query rows
constexpr int64_t kChunkBlocks = 4;  // 128 keys

struct State {
  Group group;
  alignas(64) float log_sum[kSide], delta[kSide];  // log2(e) lse; delta / sqrt(K)
};

template <class Unit>
class Backward {
 public:
  Backward(const Problem& p, const float* lse, const float* delta, float* dq, float* dk, float* dv, Scratch& scratch)
      : p_(p),
        lse_(lse),
        delta_(delta),
        dq_(dq),
        dk_(dk),
        dv_(dv),
        scale_(1 / std::sqrt(static_cast<float>(p.s.K))),
        group_operand_(p.steps * kStep),
        keys_operand_(p.blocks.size() * p.steps * kStep) {
    const int64_t keys = keys_operand_ / 2, group = group_operand_ / 2, weights = kGroups * kStep / 2;  // in floats
    const int64_t out = kGroups * p.padded_K * kSide;
    scratch.reserve({keys, keys, keys, kGroups * group, kGroups * group, kGroups * group, kGroups * group,
                     kGroups * group, kGroups * group, out, kSide * p.padded_K, 4 * kBlock, weights, weights,
                     kChunkBlocks * weights});
    const auto take = [&](int64_t floats) { return reinterpret_cast<BFloat16*>(scratch.take(floats)); };
    keys_ = take(keys), values_ = take(keys), keys_across_ = take(keys);
    q_rows_ = take(kGroups * group), do_rows_ = take(kGroups * group);
    q_across_ = take(kGroups * group), do_across_ = take(kGroups * group);
    q_ = take(kGroups * group), do_ = take(kGroups * group);
    dq_across_ = scratch.take(out), rows_ = scratch.take(kSide * p.padded_K);
    scores_ = scratch.take(4 * kBlock);
    weights_ = take(weights), gradients_ = take(weights);
    gradients_across_ = take(kChunkBlocks * weights);
  }

  void head(int64_t g, const BFloat16* q, const BFloat16* k, const BFloat16* v, const BFloat16* d_o) {
    const Rows keys = p_.keys_of(k, g), values = p_.keys_of(v, g);
    for (int64_t block = 0; block < p_.blocks.size(); ++block) {
      pack_left(keys, block * kSide, keys_ + block * group_operand_);
      pack_left(values, block * kSide, values_ + block * group_operand_);
    }
    for (int64_t strip = 0; strip < p_.steps; ++strip)
      pack_left_of_columns(keys, strip * kSide, keys_across_ + strip * p_.blocks.size() * kStep);
    for (int64_t row = 0; row < p_.rows; row += kGroups * kSide) query_block(g, row, q, d_o);
  }

 private:
  void query_block(int64_t g, int64_t first_row, const BFloat16* q, const BFloat16* d_o) {
    groups_ = std::min(kGroups, (p_.rows - first_row + kSide - 1) / kSide);
    Range blocks{p_.blocks.end, 0};
    const int64_t K = p_.s.K;
    for (int64_t i = 0; i < groups_; ++i) {
      load_state(g, first_row + i * kSide, states_[i]);
      const Range seen = states_[i].group.blocks;
      if (!seen.empty()) blocks = {std::min(blocks.begin, seen.begin), std::max(blocks.end, seen.end)};
      for (const auto& [x, rows, across] : {std::tuple(q, q_rows_, q_across_), std::tuple(d_o, do_rows_, do_across_)}) {
        gather(p_, x, g, first_row + i * kSide, rows + i * kSide * K);
        pack_right_of_rows({rows + i * kSide * K, K, kSide, K}, 0, across + i * group_operand_);
      }
    }
    for (int64_t panel = 0; panel < p_.steps; ++panel) {
      pack_right({q_rows_, K, groups_ * kSide, K}, panel * kSide, q_ + panel * kGroups * kStep);
      pack_right({do_rows_, K, groups_ * kSide, K}, panel * kSide, do_ + panel * kGroups * kStep);
    }
    std::fill_n(dq_across_, groups_ * p_.padded_K * kSide, 0.0f);
    for (int64_t chunk = blocks.begin; chunk < blocks.end; chunk += kChunkBlocks)
      visit(g, {chunk, std::min(chunk + kChunkBlocks, blocks.end)});
    for (int64_t i = 0; i < groups_; ++i) add_to_dq(g, first_row + i * kSide, dq_across_ + i * p_.padded_K * kSide);
  }

  void load_state(int64_t g, int64_t first_row, State& state) {
    state.group.find(p_, first_row);
    for (int64_t i = 0; i < kSide; ++i) {
      const bool exists = first_row + i < p_.rows;
      const int64_t at = exists ? p_.memory_row(g, first_row + i) : 0;
      const float log_sum = exists ? lse_[at] : 0;
      const bool sees_none = log_sum == -std::numeric_limits<float>::infinity();  // all its scores are -infinity too
      state.log_sum[i] = sees_none ? 0 : static_cast<float>(std::numbers::log2e * static_cast<double>(log_sum));
      state.delta[i] = exists ? scale_ * delta_[at] : 0;
    }
  }

  // The groups that see a block of keys follow each other, because neither end of what a query sees decreases.
  Range groups_of(int64_t block) const {
    Range found{0, groups_};
    const auto sees = [&](int64_t i) {
      return states_[i].group.blocks.begin <= block && block < states_[i].group.blocks.end;
    };
    while (!found.empty() && !sees(found.begin)) ++found.begin;
    while (!found.empty() && !sees(found.end - 1)) --found.end;
    return found;
  }

  void visit(int64_t g, Range chunk) {
    for (int64_t block = chunk.begin; block < chunk.end; ++block) {
      const Range groups = groups_of(block);
      if (groups.empty()) continue;
      // The next group's products are issued to the unit before the processor works on this group's.
      multiply_scores(block, groups.begin);
      for (int64_t i = groups.begin; i < groups.end; ++i) {
        if (i + 1 < groups.end) multiply_scores(block, i + 1);
        weigh(block, i, block - chunk.begin);
      }
      add_to_keys(g, block, groups, weights_, do_, dv_);
      add_to_keys(g, block, groups, gradients_, q_, dk_);
    }
    for (int64_t i = 0; i < groups_; ++i) {
      const Range seen = states_[i].group.blocks;
      const Range blocks{std::max(chunk.begin, seen.begin), std::min(chunk.end, seen.end)};
      if (blocks.empty()) continue;
      for (int64_t strip = 0; strip < p_.steps; ++strip)
        Unit::template multiply<true>(
            blocks.size(), keys_across_ + (strip * p_.blocks.size() + blocks.begin - p_.blocks.begin) * kStep,
            gradients_across_ + (i * kChunkBlocks + blocks.begin - chunk.begin) * kStep,
            dq_across_ + i * p_.padded_K * kSide + strip * kBlock, kSide);
    }
  }

  float* scores_of(int64_t i) const { return scores_ + i % 2 * 2 * kBlock; }

  // S^T = K Q^T and dP^T = V d_o^T, one after the other
  void multiply_scores(int64_t block, int64_t i) {
    const int64_t at = (block - p_.blocks.begin) * group_operand_;
    Unit::template multiply<false>(p_.steps, keys_ + at, q_across_ + i * group_operand_, scores_of(i), kSide);
    Unit::template multiply<false>(p_.steps, values_ + at, do_across_ + i * group_operand_, scores_of(i) + kBlock,
                                   kSide);
  }

  // P = 2^(score - log2(e) lse) and dS = P (dP - delta) / sqrt(K)
  void weigh(int64_t block, int64_t i, int64_t step) {
    const State& state = states_[i];
    float* const scores = scores_of(i);
    if (!state.group.sees_whole(block)) hide_masked(state.group, block, scores);
    const __m512 factor = _mm512_set1_ps(static_cast<float>(std::numbers::log2e * static_cast<double>(scale_)));
    const __m512 scale = _mm512_set1_ps(scale_);
    const __m512 log_sum[] = {_mm512_load_ps(state.log_sum), _mm512_load_ps(state.log_sum + 16)};
    const __m512 delta[] = {_mm512_load_ps(state.delta), _mm512_load_ps(state.delta + 16)};
    BFloat16 *const weights = weights_ + i * kStep, *const gradients = gradients_ + i * kStep;
    BFloat16* const across = gradients_across_ + (i * kChunkBlocks + step) * kStep;
    for (int64_t pair = 0; pair < 16; ++pair) {
      __m512i ds[2];
      for (int64_t odd = 0; odd < 2; ++odd) {
        const int64_t key = 2 * pair + odd;
        const float *const score = scores + key * kSide, *const product = score + kBlock;
        __m512 p[2], gradient[2];
        for (int64_t half = 0; half < 2; ++half) {
          p[half] = exp2_of(_mm512_fmsub_ps(_mm512_load_ps(score + 16 * half), factor, log_sum[half]));
          gradient[half] =
              _mm512_mul_ps(p[half], _mm512_fmsub_ps(_mm512_load_ps(product + 16 * half), scale, delta[half]));
        }
        ds[odd] = to_bf16(gradient[0], gradient[1]);
        _mm512_store_si512(weights + key * kSide, to_bf16(p[0], p[1]));
        _mm512_store_si512(gradients + key * kSide, ds[odd]);
      }
      store_pairs(ds[0], ds[1], pair, across);
    }
  }

  // out [U, G, K] += weights rows, for 32 keys; weights: a left operand whose inner dimension is the block's rows.
  void add_to_keys(int64_t g, int64_t block, Range groups, const BFloat16* weights, const BFloat16* rows, float* out) {
    const int64_t K = p_.s.K, stride = p_.s.G * K, keys = std::min(kSide, p_.s.U - block * kSide);
    float* const to = out + (block * kSide * p_.s.G + g) * K;
    for (int64_t panel = 0; panel < p_.steps; ++panel) {
      const BFloat16 *const left = weights + groups.begin * kStep, *const right =
                                                                       rows + (panel * kGroups + groups.begin) * kStep;
      const int64_t k = panel * kSide, columns = std::min(kSide, K - k);
      if (keys == kSide && columns == kSide) {
        Unit::template multiply<true>(groups.size(), left, right, to + k, stride);
        continue;
      }
      alignas(64) float sums[kBlock];
      Unit::template multiply<false>(groups.size(), left, right, sums, kSide);
      for (int64_t key = 0; key < keys; ++key) add_row(sums + key * kSide, columns, to + key * stride + k);
    }
  }

  void add_to_dq(int64_t g, int64_t first_row, const float* across) {
    transpose_columns(across, p_.padded_K, rows_);
    for (int64_t i = 0; i < std::min(kSide, p_.rows - first_row); ++i)
      add_row(rows_ + i * p_.padded_K, p_.s.K, dq_ + p_.memory_row(g, first_row + i) * p_.s.K);
  }

  static void add_row(const float* from, int64_t count, float* to) {
    for (int64_t i = 0; i < count; i += 16) {
      const auto here = static_cast<__mmask16>(first_of_32(std::min<int64_t>(count - i, 16)));
      _mm512_mask_storeu_ps(to + i, here, _mm512_add_ps(_mm512_maskz_loadu_ps(here, to + i), _mm512_load_ps(from + i)));
    }
  }

  const Problem& p_;
  const float *lse_, *delta_;
  float *dq_, *dk_, *dv_;
  float scale_;
  int64_t group_operand_, keys_operand_;  // elements
  int64_t groups_ = 0;                    // of the present block
  State states_[kGroups];
  BFloat16 *keys_, *values_;         // left operands of 32 keys each, inner dimension K
  BFloat16* keys_across_;            // left operands of 32 columns of K each, inner dimension: the keys
  BFloat16 *q_rows_, *do_rows_;      // [32, K] of each group
  BFloat16 *q_across_, *do_across_;  // a right operand for each group, inner dimension K
  BFloat16 *q_, *do_;                // right operands of 32 columns of K each, inner dimension: the block's rows
  float* dq_across_;                 // [padded_K, 32] of each group, transposed; columns in the order of row_of_column
  float* rows_;
  float* scores_;                   // S^T and dP^T of two groups
  BFloat16 *weights_, *gradients_;  // P^T, dS^T: left operands, inner dimension: the block's rows
  BFloat16* gradients_across_;      // dS^T: a right operand for each group, inner dimension: the chunk's keys
};

template <class Unit>
void backward(const Problem& p, const BFloat16* q, const BFloat16* k, const BFloat16* v, const BFloat16* d_o,
              const float* lse, const float* delta, float* dq, float* dk, float* dv, Scratch& scratch) {
  Backward<Unit> backward(p, lse, delta, dq, dk, dv, scratch);
  [[maybe_unused]] const typename Unit::Session session;
  for (int64_t g = 0; g < p.s.G; ++g) backward.head(g, q, k, v, d_o);
}

}  // namespace

void attention_backward(MatrixUnit unit, const AttentionSizes& s, const AttentionMask& mask, const Tensor& q,
                        const Tensor& k, const Tensor& v, const Tensor& d_o, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv, Scratch& scratch) {
  const Problem p(s, mask);
  if (p.blocks.empty()) return;
  CHECK(unit != MatrixUnit::kVectors, "attention in vectors");
  (unit == MatrixUnit::kTiles ? backward<Amx>
                              : backward<DotProducts>)(p, q.data<BFloat16>(), k.data<BFloat16>(), v.data<BFloat16>(),
                                                       d_o.data<BFloat16>(), lse.data<float>(), delta.data<float>(),
                                                       dq.data<float>(), dk.data<float>(), dv.data<float>(), scratch);
}

}  // namespace ropewalk::tiles
ROPEWALK_AFTER_TILES

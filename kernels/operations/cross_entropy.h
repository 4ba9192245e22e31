// Cross-entropy over a vocabulary that is split over ranks. For each row, each piece gives (max, sum of exponentials,
// logit of the target), and these are merged.
#pragma once

#include <optional>

#include "kernels/operations/scalar.h"
#include "kernels/tensor.h"

namespace ropewalk::operations {

struct CrossEntropySizes {
  int64_t N, V;
};

inline CrossEntropySizes cross_entropy_sizes(const Tensor& logits) { return {logits.extent(0), logits.extent(1)}; }

// The column of a target in these logits; nullopt if it is ignored (-1) or another rank has it.
inline std::optional<int64_t> target_column(const CrossEntropySizes& s, int32_t target, int64_t v_begin) {
  const int64_t v = target - v_begin;
  return target >= 0 && 0 <= v && v < s.V ? std::optional(v) : std::nullopt;
}

struct CrossEntropyMergeSizes {
  int64_t R, N;
};

inline CrossEntropyMergeSizes cross_entropy_merge_sizes(const Tensor& partials) {
  return {partials.extent(0), partials.extent(1)};
}

// partials[n] = (m, sum_v exp(s l_v - m), s l_target or 0),  m = max_v s l_v
template <typename S>
void cross_entropy_partials(const CrossEntropySizes& s, const S* logits, const int32_t* targets, int64_t v_begin,
                            double logit_scale, S* partials) {
  using std::exp;
  const S factor(logit_scale);
  for (int64_t n = 0; n < s.N; ++n) {
    const S* row = logits + n * s.V;
    S largest = minus_infinity<S>(), sum{};
    for (int64_t v = 0; v < s.V; ++v)
      if (real_part(factor * row[v]) > real_part(largest)) largest = factor * row[v];
    for (int64_t v = 0; v < s.V; ++v) sum += exp(factor * row[v] - largest);
    const auto target = target_column(s, targets[n], v_begin);
    partials[3 * n] = largest;
    partials[3 * n + 1] = sum;
    partials[3 * n + 2] = target ? factor * row[*target] : S{};
  }
}

// log_sum = log sum_v exp(s l_v) over all R pieces, losses = log_sum - s l_target, or 0 where the target is -1
template <typename S>
void cross_entropy_merge(const CrossEntropyMergeSizes& s, const S* partials, const int32_t* targets, S* log_sum,
                         S* losses) {
  using std::exp, std::log;
  for (int64_t n = 0; n < s.N; ++n) {
    S largest = minus_infinity<S>(), sum{}, target{};
    for (int64_t r = 0; r < s.R; ++r) {
      const S* piece = partials + (r * s.N + n) * 3;
      if (real_part(piece[0]) > real_part(largest)) largest = piece[0];
    }
    for (int64_t r = 0; r < s.R; ++r) {
      const S* piece = partials + (r * s.N + n) * 3;
      if (!is_minus_infinity(piece[0])) sum += exp(piece[0] - largest) * piece[1];
      target += piece[2];
    }
    log_sum[n] = largest + log(sum);
    losses[n] = targets[n] == -1 ? S{} : log_sum[n] - target;
  }
}

// logits = (exp(s l_v - log_sum) - [v = target]) * s * loss_scale, or 0 in rows whose target is -1
template <typename S>
void cross_entropy_backward(const CrossEntropySizes& s, S* logits, const int32_t* targets, const S* log_sum,
                            int64_t v_begin, double logit_scale, double loss_scale) {
  using std::exp;
  const S factor(logit_scale), outer(logit_scale * loss_scale);
  for (int64_t n = 0; n < s.N; ++n) {
    const auto target = target_column(s, targets[n], v_begin);
    for (int64_t v = 0; v < s.V; ++v) {
      S& logit = logits[n * s.V + v];
      const S hit = v == target ? S(1) : S{};
      logit = targets[n] == -1 ? S{} : (exp(factor * logit - log_sum[n]) - hit) * outer;
    }
  }
}

}  // namespace ropewalk::operations

// Checks attention's operands and converts them to the arguments of its kernels.
#pragma once

#include <algorithm>
#include <initializer_list>

#include "kernels/attention_mask.h"
#include "kernels/cuda/attention/geometry.h"
#include "kernels/cuda/operand.h"
#include "kernels/make_kernels.h"

namespace ROPEWALK_CUDA {

inline void check_heads(int64_t K, std::initializer_list<Tensor> operands) {
  for (const Tensor& x : operands) check_aligned(x, 16);
  const BackendLimits limits = limits_of(BackendKind::kCuda);
  CHECK(std::find(limits.head_sizes.begin(), limits.head_sizes.end(), K) != limits.head_sizes.end(),
        "attention of head size {} on cuda", K);
}

// Kernels count rows and positions with 32 bits, and add a window to a position.
inline constexpr int64_t kMostPositions = int64_t{1} << 30;
inline RowPositions check_positions(const Positions& x, int64_t rows) {
  CHECK(x.of(rows) < kMostPositions, "attention at position {} on cuda", x.of(rows));
  if (x.second >= rows) return static_cast<int>(x.begin);  // a single run; `second` may not fit
  return RowPositions(x);
}

inline AttentionShape shape_of(const Tensor& q, const Tensor& k, const AttentionSpan& span,
                               std::initializer_list<Tensor> operands) {
  const AttentionSizes s = attention_sizes(q, k);
  check_heads(s.K, operands);
  const int64_t most = limits_of(BackendKind::kCuda).most_grouped_heads;
  CHECK(s.H / s.G <= most, "attention of {} query heads to a key head on cuda", s.H / s.G);
  return {.T = s.T,
          .U = s.U,
          .H = s.H,
          .G = s.G,
          .K = s.K,
          .queries = check_positions(span.queries, s.T),
          .keys = check_positions(span.keys, s.U),
          .sliding = span.window.has_value(),
          .window = static_cast<int>(std::min(span.window.value_or(0), kMostPositions)),
          .document_begin = span.document_begin.empty() ? nullptr : at<int32_t>(span.document_begin)};
}

// Checks the limit of the Hopper kernels: indices of rows are 32-bit.
inline void check_counts(const AttentionShape& s) {
  CHECK(s.T * s.H < int64_t{1} << 30, "attention of {} queries of {} heads on cuda", s.T, s.H);
}

// Calls f(std::integral_constant<int, K>{}) if K is a supported head size.
template <typename F>
void with_head_size(int64_t K, F&& f) {
  if (K == 64)
    f(std::integral_constant<int, 64>{});
  else if (K == 128)
    f(std::integral_constant<int, 128>{});
  else
    CHECK(false, "attention of head size {} on cuda", K);
}

}  // namespace ROPEWALK_CUDA

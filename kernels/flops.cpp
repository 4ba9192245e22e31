#include "kernels/flops.h"

#include "kernels/attention_mask.h"

namespace ropewalk {
namespace {

// Sum over j <= x of clamp(j, 0, most).
int64_t ramp(int64_t x, int64_t most) {
  if (x <= 0) return 0;
  const int64_t rising = std::min(x, most), flat = std::max<int64_t>(0, x - most);
  return rising * (rising + 1) / 2 + flat * most;
}

}  // namespace

FlopCount product_flops(const Tensor& x, int64_t columns) { return FlopCount{2} * x.elements() * columns; }

int64_t visible_pairs(int64_t queries, int64_t keys, const AttentionSpan& span) {
  if (!span.document_begin.empty() && span.document_begin.device() == Device{}) {
    const AttentionMask mask(keys, span.q_begin, span.k_begin, span.window, span.document_begin.data<int32_t>());
    int64_t pairs = 0;
    for (int64_t t = 0; t < queries; ++t) {
      const Range seen = mask.of_query(t);
      pairs += std::max<int64_t>(0, seen.size());
    }
    return pairs;
  }
  // Query t sees the first clamp(s + t, 0, keys) keys, s = q_begin + 1 - k_begin, except those before its window.
  const auto first_keys = [&](int64_t s) { return ramp(s + queries - 1, keys) - ramp(s - 1, keys); };
  const int64_t s = span.q_begin + 1 - span.k_begin;
  return first_keys(s) - (span.window ? first_keys(s - std::min(*span.window, span.q_begin + queries)) : 0);
}

FlopCount attention_flops(Pass pass, const Tensor& q, const Tensor& k, const AttentionSpan& span) {
  return FlopCount{pass == Pass::kForward ? 4 : 10} * visible_pairs(q.rows(), k.rows(), span) * q.extent(1) *
         q.extent(2);
}

}  // namespace ropewalk

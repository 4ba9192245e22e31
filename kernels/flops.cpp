#include "kernels/flops.h"

#include <array>

#include "kernels/attention_mask.h"

namespace ropewalk {
namespace {

// Sum over j <= x of clamp(j, 0, most).
int64_t ramp(int64_t x, int64_t most) {
  if (x <= 0) return 0;
  const int64_t rising = std::min(x, most), flat = std::max<int64_t>(0, x - most);
  return rising * (rising + 1) / 2 + flat * most;
}

struct Run {
  int64_t begin, count;  // positions [begin, begin + count)
};

std::array<Run, 2> runs_of(const Positions& positions, int64_t rows) {
  const int64_t first = std::min(positions.second, rows);
  return {Run{positions.begin, first}, Run{positions.of(first), rows - first}};
}

int64_t visible_pairs(const Run& queries, const Run& keys, std::optional<int64_t> window) {
  // Query t sees the first clamp(s + t, 0, keys) keys, s = queries.begin + 1 - keys.begin, except those before its
  // window.
  const auto first_keys = [&](int64_t s) { return ramp(s + queries.count - 1, keys.count) - ramp(s - 1, keys.count); };
  const int64_t s = queries.begin + 1 - keys.begin;
  return first_keys(s) - (window ? first_keys(s - std::min(*window, queries.begin + queries.count)) : 0);
}

}  // namespace

FlopCount product_flops(const Tensor& x, int64_t columns) { return FlopCount{2} * x.elements() * columns; }

int64_t visible_pairs(int64_t queries, int64_t keys, const AttentionSpan& span) {
  if (!span.document_begin.empty() && span.document_begin.device() == Device{}) {
    const AttentionMask mask(keys, span.queries, span.keys, span.window, span.document_begin.data<int32_t>());
    int64_t pairs = 0;
    for (int64_t t = 0; t < queries; ++t) {
      const Range seen = mask.of_query(t);
      pairs += std::max<int64_t>(0, seen.size());
    }
    return pairs;
  }
  int64_t pairs = 0;
  for (const Run& q : runs_of(span.queries, queries))
    for (const Run& k : runs_of(span.keys, keys)) pairs += visible_pairs(q, k, span.window);
  return pairs;
}

FlopCount attention_flops(Pass pass, const Tensor& q, const Tensor& k, const AttentionSpan& span) {
  return FlopCount{pass == Pass::kForward ? 4 : 10} * visible_pairs(q.rows(), k.rows(), span) * q.extent(1) *
         q.extent(2);
}

}  // namespace ropewalk

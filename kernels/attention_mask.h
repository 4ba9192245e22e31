// The range of keys that each query sees: index arithmetic without tensor data, for the host backends and the FLOP
// counts. cuda/attention/geometry.h has the same function for CUDA kernels.
#pragma once

#include <algorithm>

#include "kernels/kernels.h"
#include "kernels/range.h"

namespace ropewalk {

struct AttentionSizes {
  int64_t T, U, H, G, K;
};

inline AttentionSizes attention_sizes(const Tensor& q, const Tensor& k) {
  return {q.extent(0), k.extent(0), q.extent(1), k.extent(1), q.extent(2)};
}

// Query i sees key j iff  j <= i,  i - j < window  and  j >= document_begin[i]. So each query sees one interval of
// keys, and neither end decreases from one query to the next.
class AttentionMask {
 public:
  // `count` keys. document_begin has one entry per query, or is null.
  AttentionMask(int64_t count, const Positions& queries, const Positions& keys, std::optional<int64_t> window,
                const int32_t* document_begin)
      : count_(count), queries_(queries), keys_(keys), window_(window), document_begin_(document_begin) {}
  // span.document_begin must be in host memory.
  AttentionMask(const AttentionSizes& s, const AttentionSpan& span)
      : AttentionMask(s.U, span.queries, span.keys, span.window,
                      span.document_begin.empty() ? nullptr : span.document_begin.data<int32_t>()) {}

  // The rows of keys that the query in row t sees; may be empty.
  Range of_query(int64_t t) const {
    const int64_t i = queries_.of(t);
    int64_t first = document_begin_ ? document_begin_[t] : 0;
    if (window_) first = std::max(first, i + 1 - std::min(*window_, i + 1));
    return {std::clamp<int64_t>(keys_.first_row_from(first), 0, count_),
            std::clamp<int64_t>(keys_.first_row_from(i + 1), 0, count_)};
  }

 private:
  int64_t count_;
  Positions queries_, keys_;
  std::optional<int64_t> window_;
  const int32_t* document_begin_;
};

}  // namespace ropewalk

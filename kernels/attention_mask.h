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
  // document_begin has one entry per query, or is null.
  AttentionMask(int64_t keys, int64_t q_begin, int64_t k_begin, std::optional<int64_t> window,
                const int32_t* document_begin)
      : keys_(keys), q_begin_(q_begin), k_begin_(k_begin), window_(window), document_begin_(document_begin) {}
  // span.document_begin must be in host memory.
  AttentionMask(const AttentionSizes& s, const AttentionSpan& span)
      : AttentionMask(s.U, span.q_begin, span.k_begin, span.window,
                      span.document_begin.empty() ? nullptr : span.document_begin.data<int32_t>()) {}

  // The rows of this piece of keys that query t sees, counted from the piece's start; may be empty.
  Range of_query(int64_t t) const {
    const int64_t i = q_begin_ + t;
    int64_t first = document_begin_ ? document_begin_[t] : 0;
    if (window_) first = std::max(first, i + 1 - std::min(*window_, i + 1));
    return {std::clamp<int64_t>(first - k_begin_, 0, keys_), std::clamp<int64_t>(i + 1 - k_begin_, 0, keys_)};
  }

 private:
  int64_t keys_, q_begin_, k_begin_;
  std::optional<int64_t> window_;
  const int32_t* document_begin_;
};

}  // namespace ropewalk

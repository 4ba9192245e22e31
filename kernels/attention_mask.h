// Which keys a query sees, in integers: shared by all backends.
#pragma once

#include <algorithm>

#include "kernels/operand.h"
#include "kernels/range.h"

namespace ropewalk {

struct AttentionSizes {
  int64_t T, U, H, G, K;
};

inline AttentionSizes attention_sizes(const Kernels& kernels, const Tensor& q, const Tensor& k, const Tensor& v,
                                      const AttentionSpan& span) {
  check_rank("attention: q", q, 3);
  check_rank("attention: k", k, 3);
  const AttentionSizes s{q.extent(0), k.extent(0), q.extent(1), k.extent(1), q.extent(2)};
  CHECK(s.K > 0 && s.K % 2 == 0, "attention with a head size of {}", s.K);
  CHECK(s.G > 0 && s.H % s.G == 0, "attention of {} query heads over {} key heads", s.H, s.G);
  check_operand(kernels, "attention: q", q, kernels.dtype(), {s.T, s.H, s.K});
  check_operand(kernels, "attention: k", k, kernels.dtype(), {s.U, s.G, s.K});
  check_operand(kernels, "attention: v", v, kernels.dtype(), {s.U, s.G, s.K});
  CHECK(span.q_begin >= 0 && span.k_begin >= 0, "attention from {} to {}", span.q_begin, span.k_begin);
  CHECK(!span.window || *span.window >= 1, "attention with a window of {}", *span.window);
  if (!span.document_begin.empty())
    check_operand(kernels, "attention: document_begin", span.document_begin, DType::kI32, {s.T});
  return s;
}

inline AttentionSizes attention_forward_sizes(const Kernels& kernels, const Tensor& q, const Tensor& k, const Tensor& v,
                                              const AttentionSpan& span, const Tensor& o, const Tensor& lse) {
  const AttentionSizes s = attention_sizes(kernels, q, k, v, span);
  check_operand(kernels, "attention_forward: o", o, accumulator_of(kernels.dtype()), q.shape());
  check_operand(kernels, "attention_forward: lse", lse, accumulator_of(kernels.dtype()), {s.T, s.H});
  check_apart("attention_forward: o", o, {q, k, v, lse});
  return s;
}

struct AttentionDeltaSizes {
  int64_t rows, K;
};

inline AttentionDeltaSizes attention_delta_sizes(const Kernels& kernels, const Tensor& d_o, const Tensor& o,
                                                 const Tensor& delta) {
  check_rank("attention_delta: d_o", d_o, 3);
  check_operand(kernels, "attention_delta: d_o", d_o, kernels.dtype(), d_o.shape());
  check_operand(kernels, "attention_delta: o", o, kernels.dtype(), d_o.shape());
  check_operand(kernels, "attention_delta: delta", delta, accumulator_of(kernels.dtype()),
                {d_o.extent(0), d_o.extent(1)});
  return {d_o.extent(0) * d_o.extent(1), d_o.extent(2)};
}

inline AttentionSizes attention_backward_sizes(const Kernels& kernels, const Tensor& q, const Tensor& k,
                                               const Tensor& v, const Tensor& d_o, const Tensor& lse,
                                               const Tensor& delta, const AttentionSpan& span, const Tensor& dq,
                                               const Tensor& dk, const Tensor& dv) {
  const AttentionSizes s = attention_sizes(kernels, q, k, v, span);
  const DType accumulator = accumulator_of(kernels.dtype());
  check_operand(kernels, "attention_backward: d_o", d_o, kernels.dtype(), q.shape());
  check_operand(kernels, "attention_backward: lse", lse, accumulator, {s.T, s.H});
  check_operand(kernels, "attention_backward: delta", delta, accumulator, {s.T, s.H});
  check_operand(kernels, "attention_backward: dq", dq, accumulator, q.shape());
  check_operand(kernels, "attention_backward: dk", dk, accumulator, k.shape());
  check_operand(kernels, "attention_backward: dv", dv, accumulator, v.shape());
  check_apart("attention_backward: dq", dq, {q, k, v, d_o, lse, delta, dk, dv});
  check_apart("attention_backward: dk", dk, {q, k, v, d_o, lse, delta, dv});
  check_apart("attention_backward: dv", dv, {q, k, v, d_o, lse, delta});
  return s;
}

// Query i sees key j iff  j <= i,  i - j < window  and  j >= document_begin[i]: for each query one interval, whose ends
// never move back from one query to the next.
class AttentionMask {
 public:
  // document_begin holds one entry a query, or is null.
  AttentionMask(int64_t keys, int64_t q_begin, int64_t k_begin, std::optional<int64_t> window,
                const int32_t* document_begin)
      : keys_(keys), q_begin_(q_begin), k_begin_(k_begin), window_(window), document_begin_(document_begin) {}
  // Of operands in host memory.
  AttentionMask(const AttentionSizes& s, const AttentionSpan& span)
      : AttentionMask(s.U, span.q_begin, span.k_begin, span.window,
                      span.document_begin.empty() ? nullptr : span.document_begin.data<int32_t>()) {}

  // The rows of the key piece, counted from its start, that query t sees; perhaps none.
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

#include "kernels/operations/attention.h"

#include "kernels/flops.h"
#include "kernels/operations/call.h"
#include "kernels/operations/host_operand.h"
#include "kernels/operations/operand.h"
#include "kernels/operations/plain.h"

namespace ropewalk {

using operations::HostInput, operations::HostOutput;

namespace {

AttentionSizes check_attention(const Kernels& kernels, const Tensor& q, const Tensor& k, const Tensor& v,
                               const AttentionSpan& span) {
  check_rank("attention: q", q, 3);
  check_rank("attention: k", k, 3);
  const AttentionSizes s = attention_sizes(q, k);
  CHECK(s.K > 0 && s.K % 2 == 0, "attention with a head size of {}", s.K);
  CHECK(s.G > 0 && s.H % s.G == 0, "attention of {} query heads over {} key heads", s.H, s.G);
  check_operand(kernels, "attention: q", q, kernels.dtype(), {s.T, s.H, s.K});
  check_operand(kernels, "attention: k", k, kernels.dtype(), {s.U, s.G, s.K});
  check_operand(kernels, "attention: v", v, kernels.dtype(), {s.U, s.G, s.K});
  for (const Positions& x : {span.queries, span.keys})
    CHECK(x.begin >= 0 && x.second >= 0 && x.gap >= 0, "attention at positions from {} with a gap of {} after {} rows",
          x.begin, x.gap, x.second);
  CHECK(!span.window || *span.window >= 1, "attention with a window of {}", *span.window);
  if (!span.document_begin.empty())
    check_operand(kernels, "attention: document_begin", span.document_begin, DType::kI32, {s.T});
  return s;
}

// A backend that only counts has no documents in its memory, so there each sequence counts as one document.
Work work_of(const Backend& backend, Pass pass, const Tensor& q, const Tensor& k, AttentionSpan span) {
  if (!backend.computes()) span.document_begin = Tensor();
  const FlopCount flops = attention_flops(pass, q, k, span);
  return {span.window ? Flops{.sliding_attention = flops} : Flops{.full_attention = flops}};
}

}  // namespace

void Kernels::attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span,
                                const Tensor& o, const Tensor& lse) {
  const AttentionSizes s = check_attention(*this, q, k, v, span);
  check_operand(*this, "attention_forward: o", o, accumulator_of(dtype()), q.shape());
  check_operand(*this, "attention_forward: lse", lse, accumulator_of(dtype()), {s.T, s.H});
  check_apart("attention_forward: o", o, {q, k, v, lse});
  call(
      __func__, [&] { return work_of(*backend_, Pass::kForward, q, k, span); },
      [&] { backend_->attention_forward(q, k, v, span, o, lse); });
}

void Kernels::attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta) {
  check_rank("attention_delta: d_o", d_o, 3);
  check_operand(*this, "attention_delta: d_o", d_o, dtype(), d_o.shape());
  check_operand(*this, "attention_delta: o", o, dtype(), d_o.shape());
  check_operand(*this, "attention_delta: delta", delta, accumulator_of(dtype()), {d_o.extent(0), d_o.extent(1)});
  call(
      __func__,
      [&] {
        return moved({d_o, o}, {delta});
      },
      [&] { backend_->attention_delta(d_o, o, delta); });
}

void Kernels::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o,
                                 const Tensor& lse, const Tensor& delta, const AttentionSpan& span, const Tensor& dq,
                                 const Tensor& dk, const Tensor& dv) {
  const AttentionSizes s = check_attention(*this, q, k, v, span);
  const DType accumulator = accumulator_of(dtype());
  check_operand(*this, "attention_backward: d_o", d_o, dtype(), q.shape());
  check_operand(*this, "attention_backward: lse", lse, accumulator, {s.T, s.H});
  check_operand(*this, "attention_backward: delta", delta, accumulator, {s.T, s.H});
  check_operand(*this, "attention_backward: dq", dq, accumulator, q.shape());
  check_operand(*this, "attention_backward: dk", dk, accumulator, k.shape());
  check_operand(*this, "attention_backward: dv", dv, accumulator, v.shape());
  check_apart("attention_backward: dq", dq, {q, k, v, d_o, lse, delta, dk, dv});
  check_apart("attention_backward: dk", dk, {q, k, v, d_o, lse, delta, dv});
  check_apart("attention_backward: dv", dv, {q, k, v, d_o, lse, delta});
  call(
      __func__, [&] { return work_of(*backend_, Pass::kBackward, q, k, span); },
      [&] { backend_->attention_backward(q, k, v, d_o, lse, delta, span, dq, dk, dv); });
}

namespace {

// Calls f with the rounding of P and dS: Rounded for a bf16 backend, otherwise AsTheyAre.
template <typename S, typename F>
void with_operand(DType dtype, F&& f) {
  if constexpr (std::is_same_v<S, float>)
    if (dtype == DType::kBF16) return f(operations::Rounded());
  f(operations::AsTheyAre());
}

}  // namespace

void Backend::attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span,
                                const Tensor& o, const Tensor& lse) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    const AttentionSizes s = attention_sizes(q, k);
    with_operand<S>(dtype(), [&](auto operand) {
      operations::attention_forward<S>(s, AttentionMask(s, span), HostInput<S>(q), HostInput<S>(k), HostInput<S>(v),
                                       HostOutput<S>(o), HostOutput<S>(lse), operand);
    });
  });
}

void Backend::attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    operations::attention_delta<S>(delta.elements(), d_o.extent(2), HostInput<S>(d_o), HostInput<S>(o),
                                   HostOutput<S>(delta));
  });
}

void Backend::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o,
                                 const Tensor& lse, const Tensor& delta, const AttentionSpan& span, const Tensor& dq,
                                 const Tensor& dk, const Tensor& dv) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    const AttentionSizes s = attention_sizes(q, k);
    with_operand<S>(dtype(), [&](auto operand) {
      operations::attention_backward<S>(s, AttentionMask(s, span), HostInput<S>(q), HostInput<S>(k), HostInput<S>(v),
                                        HostInput<S>(d_o), HostInput<S>(lse), HostInput<S>(delta), HostOutput<S>(dq),
                                        HostOutput<S>(dk), HostOutput<S>(dv), operand);
    });
  });
}

}  // namespace ropewalk

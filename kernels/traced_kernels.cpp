#include "kernels/traced_kernels.h"

#include "kernels/attention_mask.h"

namespace ropewalk {
namespace {

constexpr const char* kKernel = "kernel";

// A multiply and an add for each element of x and each column of the result.
double product_flops(const Tensor& x, int64_t columns) {
  return 2.0 * static_cast<double>(x.elements()) * static_cast<double>(columns);
}

// Masked pairs do not count. Where documents are in a device's memory, they are not looked at.
double visible_pairs(const Tensor& q, const Tensor& k, const AttentionSpan& span) {
  const bool on_host = span.document_begin.empty() || span.document_begin.device() == Device{};
  const bool documents = on_host && !span.document_begin.empty();
  const AttentionMask mask(k.rows(), span.q_begin, span.k_begin, span.window,
                           documents ? span.document_begin.data<int32_t>() : nullptr);
  int64_t pairs = 0;
  for (int64_t t = 0; t < q.rows(); ++t) {
    const Range seen = mask.of_query(t);
    pairs += std::max<int64_t>(0, seen.end - seen.begin);
  }
  return static_cast<double>(pairs) * static_cast<double>(q.extent(1) * q.extent(2));
}

}  // namespace

void TracedKernels::upload(const void* host, const Tensor& x) {
  const Trace::Scope scope(&trace_, "upload", kKernel);
  inner_.upload(host, x);
}

void TracedKernels::download(const Tensor& x, void* host) {
  const Trace::Scope scope(&trace_, "download", kKernel);
  inner_.download(x, host);
}

void TracedKernels::synchronize() {
  const Trace::Scope scope(&trace_, "synchronize", kKernel);
  inner_.synchronize();
}

void TracedKernels::copy(const Tensor& from, const Tensor& to) {
  const Trace::Scope scope(&trace_, "copy", kKernel);
  inner_.copy(from, to);
}

void TracedKernels::cast(const Tensor& from, const Tensor& to) {
  const Trace::Scope scope(&trace_, "cast", kKernel);
  inner_.cast(from, to);
}

void TracedKernels::fill(const Tensor& x, double value) {
  const Trace::Scope scope(&trace_, "fill", kKernel);
  inner_.fill(x, value);
}

void TracedKernels::add(const Tensor& a, const Tensor& b, const Tensor& y) {
  const Trace::Scope scope(&trace_, "add", kKernel);
  inner_.add(a, b, y);
}

void TracedKernels::linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) {
  Trace::Scope scope(&trace_, "linear_forward", kKernel);
  scope->flops = product_flops(x, w.rows());
  inner_.linear_forward(x, w, y, write);
}

void TracedKernels::linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) {
  Trace::Scope scope(&trace_, "linear_backward_input", kKernel);
  scope->flops = product_flops(dy, w.extent(1));
  inner_.linear_backward_input(dy, w, dx, write);
}

void TracedKernels::linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw) {
  Trace::Scope scope(&trace_, "linear_backward_weight", kKernel);
  scope->flops = product_flops(dy, x.extent(1));
  inner_.linear_backward_weight(dy, x, dw);
}

void TracedKernels::embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x) {
  const Trace::Scope scope(&trace_, "embedding_forward", kKernel);
  inner_.embedding_forward(tokens, table, v_begin, x);
}

void TracedKernels::embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) {
  const Trace::Scope scope(&trace_, "embedding_backward", kKernel);
  inner_.embedding_backward(tokens, dx, v_begin, dtable);
}

void TracedKernels::layer_norm_forward(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y,
                                       const Tensor& mean, const Tensor& rstd) {
  const Trace::Scope scope(&trace_, "layer_norm_forward", kKernel);
  inner_.layer_norm_forward(x, w, epsilon, y, mean, rstd);
}

void TracedKernels::layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                                        const Tensor& rstd, const Tensor& through, const Tensor& dx, const Tensor& dw) {
  const Trace::Scope scope(&trace_, "layer_norm_backward", kKernel);
  inner_.layer_norm_backward(dy, x, w, mean, rstd, through, dx, dw);
}

void TracedKernels::rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction) {
  const Trace::Scope scope(&trace_, "rotate", kKernel);
  inner_.rotate(x, first_position, theta, direction);
}

void TracedKernels::swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h) {
  const Trace::Scope scope(&trace_, "swiglu_forward", kKernel);
  inner_.swiglu_forward(gate, up, h);
}

void TracedKernels::swiglu_backward(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                                    const Tensor& dup) {
  const Trace::Scope scope(&trace_, "swiglu_backward", kKernel);
  inner_.swiglu_backward(dh, gate, up, dgate, dup);
}

void TracedKernels::attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span,
                                      const Tensor& o, const Tensor& lse) {
  Trace::Scope scope(&trace_, "attention_forward", kKernel);
  if (trace_.recording()) scope->flops = 4 * visible_pairs(q, k, span);
  inner_.attention_forward(q, k, v, span, o, lse);
}

void TracedKernels::attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta) {
  const Trace::Scope scope(&trace_, "attention_delta", kKernel);
  inner_.attention_delta(d_o, o, delta);
}

void TracedKernels::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o,
                                       const Tensor& lse, const Tensor& delta, const AttentionSpan& span,
                                       const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  Trace::Scope scope(&trace_, "attention_backward", kKernel);
  if (trace_.recording()) scope->flops = 10 * visible_pairs(q, k, span);
  inner_.attention_backward(q, k, v, d_o, lse, delta, span, dq, dk, dv);
}

void TracedKernels::cross_entropy_partials(const Tensor& logits, const Tensor& targets, int64_t v_begin,
                                           double logit_scale, const Tensor& partials) {
  const Trace::Scope scope(&trace_, "cross_entropy_partials", kKernel);
  inner_.cross_entropy_partials(logits, targets, v_begin, logit_scale, partials);
}

void TracedKernels::cross_entropy_merge(const Tensor& partials, const Tensor& targets, const Tensor& log_sum,
                                        const Tensor& losses) {
  const Trace::Scope scope(&trace_, "cross_entropy_merge", kKernel);
  inner_.cross_entropy_merge(partials, targets, log_sum, losses);
}

void TracedKernels::cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                                           int64_t v_begin, double logit_scale, double loss_scale) {
  const Trace::Scope scope(&trace_, "cross_entropy_backward", kKernel);
  inner_.cross_entropy_backward(logits, targets, log_sum, v_begin, logit_scale, loss_scale);
}

void TracedKernels::adamw(const Tensor& w, const Tensor& g, const Tensor& m, const Tensor& v, const AdamWStep& step) {
  const Trace::Scope scope(&trace_, "adamw", kKernel);
  inner_.adamw(w, g, m, v, step);
}

double TracedKernels::sum(const Tensor& x) {
  const Trace::Scope scope(&trace_, "sum", kKernel);
  return inner_.sum(x);
}

double TracedKernels::sum_of_squares(const Tensor& x) {
  const Trace::Scope scope(&trace_, "sum_of_squares", kKernel);
  return inner_.sum_of_squares(x);
}

std::optional<int64_t> TracedKernels::first_not_finite(const Tensor& x) {
  const Trace::Scope scope(&trace_, "first_not_finite", kKernel);
  return inner_.first_not_finite(x);
}

}  // namespace ropewalk

#include "kernels/wrapped_kernels.h"

#include "kernels/flops.h"

namespace ropewalk {

void WrappedKernels::upload(const void* host, const Tensor& x) {
  call("upload", [&] { inner_.upload(host, x); });
}

void WrappedKernels::download(const Tensor& x, void* host) {
  call("download", [&] { inner_.download(x, host); });
}

void WrappedKernels::synchronize() {
  call("synchronize", [&] { inner_.synchronize(); });
}

void WrappedKernels::copy(const Tensor& from, const Tensor& to) {
  call("copy", [&] { inner_.copy(from, to); });
}

void WrappedKernels::cast(const Tensor& from, const Tensor& to) {
  call("cast", [&] { inner_.cast(from, to); });
}

void WrappedKernels::fill(const Tensor& x, double value) {
  call("fill", [&] { inner_.fill(x, value); });
}

void WrappedKernels::add(const Tensor& a, const Tensor& b, const Tensor& y) {
  call("add", [&] { inner_.add(a, b, y); });
}

void WrappedKernels::linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) {
  call(
      "linear_forward", [&] { inner_.linear_forward(x, w, y, write); }, [&] { return product_flops(x, w.rows()); });
}

void WrappedKernels::linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) {
  call(
      "linear_backward_input", [&] { inner_.linear_backward_input(dy, w, dx, write); },
      [&] { return product_flops(dy, w.extent(1)); });
}

void WrappedKernels::linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw) {
  call(
      "linear_backward_weight", [&] { inner_.linear_backward_weight(dy, x, dw); },
      [&] { return product_flops(dy, x.extent(1)); });
}

void WrappedKernels::embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x) {
  call("embedding_forward", [&] { inner_.embedding_forward(tokens, table, v_begin, x); });
}

void WrappedKernels::embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) {
  call("embedding_backward", [&] { inner_.embedding_backward(tokens, dx, v_begin, dtable); });
}

void WrappedKernels::layer_norm_forward(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y,
                                        const Tensor& mean, const Tensor& rstd) {
  call("layer_norm_forward", [&] { inner_.layer_norm_forward(x, w, epsilon, y, mean, rstd); });
}

void WrappedKernels::layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                                         const Tensor& rstd, const Tensor& through, const Tensor& dx,
                                         const Tensor& dw) {
  call("layer_norm_backward", [&] { inner_.layer_norm_backward(dy, x, w, mean, rstd, through, dx, dw); });
}

void WrappedKernels::rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction) {
  call("rotate", [&] { inner_.rotate(x, first_position, theta, direction); });
}

void WrappedKernels::swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h) {
  call("swiglu_forward", [&] { inner_.swiglu_forward(gate, up, h); });
}

void WrappedKernels::swiglu_backward(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                                     const Tensor& dup) {
  call("swiglu_backward", [&] { inner_.swiglu_backward(dh, gate, up, dgate, dup); });
}

void WrappedKernels::attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span,
                                       const Tensor& o, const Tensor& lse) {
  call(
      "attention_forward", [&] { inner_.attention_forward(q, k, v, span, o, lse); },
      [&] { return attention_forward_flops(q, k, span); });
}

void WrappedKernels::attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta) {
  call("attention_delta", [&] { inner_.attention_delta(d_o, o, delta); });
}

void WrappedKernels::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o,
                                        const Tensor& lse, const Tensor& delta, const AttentionSpan& span,
                                        const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  call(
      "attention_backward", [&] { inner_.attention_backward(q, k, v, d_o, lse, delta, span, dq, dk, dv); },
      [&] { return attention_backward_flops(q, k, span); });
}

void WrappedKernels::cross_entropy_partials(const Tensor& logits, const Tensor& targets, int64_t v_begin,
                                            double logit_scale, const Tensor& partials) {
  call("cross_entropy_partials",
       [&] { inner_.cross_entropy_partials(logits, targets, v_begin, logit_scale, partials); });
}

void WrappedKernels::cross_entropy_merge(const Tensor& partials, const Tensor& targets, const Tensor& log_sum,
                                         const Tensor& losses) {
  call("cross_entropy_merge", [&] { inner_.cross_entropy_merge(partials, targets, log_sum, losses); });
}

void WrappedKernels::cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                                            int64_t v_begin, double logit_scale, double loss_scale) {
  call("cross_entropy_backward",
       [&] { inner_.cross_entropy_backward(logits, targets, log_sum, v_begin, logit_scale, loss_scale); });
}

void WrappedKernels::adamw(const Tensor& w, const Tensor& g, const Tensor& m, const Tensor& v, const AdamWStep& step) {
  call("adamw", [&] { inner_.adamw(w, g, m, v, step); });
}

double WrappedKernels::sum(const Tensor& x) {
  double out = 0;
  call("sum", [&] { out = inner_.sum(x); });
  return out;
}

double WrappedKernels::sum_of_squares(const Tensor& x) {
  double out = 0;
  call("sum_of_squares", [&] { out = inner_.sum_of_squares(x); });
  return out;
}

std::optional<int64_t> WrappedKernels::first_not_finite(const Tensor& x) {
  std::optional<int64_t> out;
  call("first_not_finite", [&] { out = inner_.first_not_finite(x); });
  return out;
}

}  // namespace ropewalk

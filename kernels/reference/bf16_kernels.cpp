#include "kernels/reference/bf16_kernels.h"

namespace ropewalk {
namespace {

// The numbers of a bf16 tensor in fp32; nothing of an absent one.
class Widened {
 public:
  explicit Widened(const Tensor& x) : x_(x), values_(static_cast<size_t>(x.empty() ? 0 : x.elements())) {
    if (!x.empty()) reference::cast(x.elements(), x.data<BFloat16>(), values_.data());
  }
  float* data() { return x_.empty() ? nullptr : values_.data(); }
  void round_back() const { reference::cast(x_.elements(), values_.data(), x_.data<BFloat16>()); }

 private:
  Tensor x_;
  std::vector<float> values_;
};

// Operands of products are bf16, P and dS too.
struct Rounded {
  float operator()(float x) const { return static_cast<float>(BFloat16(x)); }
};

}  // namespace

void ReferenceBf16Kernels::linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) {
  const auto sizes = reference::linear_forward_sizes(*this, x, w, y);
  Widened wide_y(y);
  reference::linear_forward(sizes, Widened(x).data(), Widened(w).data(), wide_y.data(), write);
  wide_y.round_back();
}

void ReferenceBf16Kernels::linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) {
  const auto sizes = reference::linear_backward_input_sizes(*this, dy, w, dx);
  Widened wide_dx(dx);
  reference::linear_backward_input(sizes, Widened(dy).data(), Widened(w).data(), wide_dx.data(), write);
  wide_dx.round_back();
}

void ReferenceBf16Kernels::linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw) {
  const auto sizes = reference::linear_backward_weight_sizes(*this, dy, x, dw);
  reference::linear_backward_weight(sizes, Widened(dy).data(), Widened(x).data(), dw.data<float>());
}

void ReferenceBf16Kernels::embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin,
                                             const Tensor& x) {
  const auto sizes = reference::embedding_forward_sizes(*this, tokens, table, x);
  Widened wide_x(x);
  reference::embedding_forward(sizes, tokens.data<int32_t>(), Widened(table).data(), v_begin, wide_x.data());
  wide_x.round_back();
}

void ReferenceBf16Kernels::embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin,
                                              const Tensor& dtable) {
  const auto sizes = reference::embedding_backward_sizes(*this, tokens, dx, dtable);
  reference::embedding_backward(sizes, tokens.data<int32_t>(), Widened(dx).data(), v_begin, dtable.data<float>());
}

void ReferenceBf16Kernels::layer_norm_forward(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y,
                                              const Tensor& mean, const Tensor& rstd) {
  const auto sizes = reference::layer_norm_forward_sizes(*this, x, w, y, mean, rstd);
  Widened wide_y(y);
  reference::layer_norm_forward(sizes, Widened(x).data(), Widened(w).data(), epsilon, wide_y.data(), mean.data<float>(),
                                rstd.data<float>());
  wide_y.round_back();
}

void ReferenceBf16Kernels::layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                                               const Tensor& rstd, const Tensor& through, const Tensor& dx,
                                               const Tensor& dw) {
  const auto sizes = reference::layer_norm_backward_sizes(*this, dy, x, w, mean, rstd, through, dx, dw);
  Widened wide_dx(dx);
  reference::layer_norm_backward(sizes, Widened(dy).data(), Widened(x).data(), Widened(w).data(), mean.data<float>(),
                                 rstd.data<float>(), Widened(through).data(), wide_dx.data(), dw.data<float>());
  wide_dx.round_back();
}

void ReferenceBf16Kernels::rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction) {
  if (x.dtype() != DType::kBF16) return ReferenceKernels::rotate(x, first_position, theta, direction);
  const auto sizes = reference::rotate_sizes(*this, x, first_position, theta);
  Widened wide(x);
  reference::rotate(sizes, wide.data(), first_position, theta, direction);
  wide.round_back();
}

void ReferenceBf16Kernels::swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h) {
  const int64_t count = reference::swiglu_forward_count(*this, gate, up, h);
  Widened wide_h(h);
  reference::swiglu_forward(count, Widened(gate).data(), Widened(up).data(), wide_h.data());
  wide_h.round_back();
}

void ReferenceBf16Kernels::swiglu_backward(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                                           const Tensor& dup) {
  const int64_t count = reference::swiglu_backward_count(*this, dh, gate, up, dgate, dup);
  Widened wide_dgate(dgate), wide_dup(dup);
  reference::swiglu_backward(count, Widened(dh).data(), Widened(gate).data(), Widened(up).data(), wide_dgate.data(),
                             wide_dup.data());
  wide_dgate.round_back();
  wide_dup.round_back();
}

void ReferenceBf16Kernels::attention_forward(const Tensor& q, const Tensor& k, const Tensor& v,
                                             const AttentionSpan& span, const Tensor& o, const Tensor& lse) {
  const auto sizes = attention_forward_sizes(*this, q, k, v, span, o, lse);
  reference::attention_forward(sizes, AttentionMask(sizes, span), Widened(q).data(), Widened(k).data(),
                               Widened(v).data(), o.data<float>(), lse.data<float>(), Rounded());
}

void ReferenceBf16Kernels::attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta) {
  const auto sizes = attention_delta_sizes(*this, d_o, o, delta);
  reference::attention_delta(sizes.rows, sizes.K, Widened(d_o).data(), Widened(o).data(), delta.data<float>());
}

void ReferenceBf16Kernels::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o,
                                              const Tensor& lse, const Tensor& delta, const AttentionSpan& span,
                                              const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  const auto sizes = attention_backward_sizes(*this, q, k, v, d_o, lse, delta, span, dq, dk, dv);
  reference::attention_backward(sizes, AttentionMask(sizes, span), Widened(q).data(), Widened(k).data(),
                                Widened(v).data(), Widened(d_o).data(), lse.data<float>(), delta.data<float>(),
                                dq.data<float>(), dk.data<float>(), dv.data<float>(), Rounded());
}

void ReferenceBf16Kernels::cross_entropy_partials(const Tensor& logits, const Tensor& targets, int64_t v_begin,
                                                  double logit_scale, const Tensor& partials) {
  const auto sizes = reference::cross_entropy_partials_sizes(*this, logits, targets, partials);
  reference::cross_entropy_partials(sizes, Widened(logits).data(), targets.data<int32_t>(), v_begin, logit_scale,
                                    partials.data<float>());
}

void ReferenceBf16Kernels::cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                                                  int64_t v_begin, double logit_scale, double loss_scale) {
  const auto sizes = reference::cross_entropy_backward_sizes(*this, logits, targets, log_sum);
  Widened wide(logits);
  reference::cross_entropy_backward(sizes, wide.data(), targets.data<int32_t>(), log_sum.data<float>(), v_begin,
                                    logit_scale, loss_scale);
  wide.round_back();
}

}  // namespace ropewalk

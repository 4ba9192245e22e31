// The reference backend in mixed precision: weights, activations and the operands of all products are bf16; every
// operation is the fp32 loop of this folder over widened operands, and what it sets is rounded once. This is the plain
// version that devices are measured by, and with it the whole trainer runs in mixed precision on any host.
#pragma once

#include "kernels/reference/reference_kernels.h"

namespace ropewalk {

// What reads and writes only accumulators, or takes any type, is as in fp32.
class ReferenceBf16Kernels final : public ReferenceKernels<float> {
 public:
  DType dtype() const override { return DType::kBF16; }

  void linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) override;
  void linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) override;
  void linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw) override;

  void embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x) override;
  void embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) override;

  void layer_norm_forward(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y, const Tensor& mean,
                          const Tensor& rstd) override;
  void layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
                           const Tensor& through, const Tensor& dx, const Tensor& dw) override;

  void rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction) override;
  void swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h) override;
  void swiglu_backward(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                       const Tensor& dup) override;

  void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span, const Tensor& o,
                         const Tensor& lse) override;
  void attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta) override;
  void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o, const Tensor& lse,
                          const Tensor& delta, const AttentionSpan& span, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) override;

  void cross_entropy_partials(const Tensor& logits, const Tensor& targets, int64_t v_begin, double logit_scale,
                              const Tensor& partials) override;
  void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum, int64_t v_begin,
                              double logit_scale, double loss_scale) override;
};

}  // namespace ropewalk

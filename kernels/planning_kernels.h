// A device that computes nothing, for plans: what runs on it makes all its calls and takes all its memory, and both are
// counted. Its memory is addresses with no bytes behind them, which read as zero and may not be written; numbers that
// would be computed are 0.
#pragma once

#include "kernels/kernels.h"

namespace ropewalk {

class PlanningKernels final : public Kernels {
 public:
  struct Flops {
    double products = 0, full_attention = 0, sliding_attention = 0;
    double total() const { return products + full_attention + sliding_attention; }
    void add(const Flops& other, double times);
  };

  explicit PlanningKernels(DType dtype) : dtype_(dtype) {}
  const Flops& flops() const { return flops_; }

  Device device() const override { return {}; }
  DType dtype() const override { return dtype_; }
  const char* name() const override { return "planning"; }
  std::unique_ptr<Buffer> allocate(int64_t bytes) override;
  void upload(const void*, const Tensor&) override {}
  void download(const Tensor& x, void* host) override;
  void synchronize() override {}

  void linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) override;
  void linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) override;
  void linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw) override;
  void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span, const Tensor& o,
                         const Tensor& lse) override;
  void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o, const Tensor& lse,
                          const Tensor& delta, const AttentionSpan& span, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) override;

  void copy(const Tensor&, const Tensor&) override {}
  void cast(const Tensor&, const Tensor&) override {}
  void fill(const Tensor&, double) override {}
  void add(const Tensor&, const Tensor&, const Tensor&) override {}
  void embedding_forward(const Tensor&, const Tensor&, int64_t, const Tensor&) override {}
  void embedding_backward(const Tensor&, const Tensor&, int64_t, const Tensor&) override {}
  void layer_norm_forward(const Tensor&, const Tensor&, double, const Tensor&, const Tensor&, const Tensor&) override {}
  void layer_norm_backward(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                           const Tensor&, const Tensor&) override {}
  void rotate(const Tensor&, int64_t, double, Rotation) override {}
  void swiglu_forward(const Tensor&, const Tensor&, const Tensor&) override {}
  void swiglu_backward(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&) override {}
  void attention_delta(const Tensor&, const Tensor&, const Tensor&) override {}
  void cross_entropy_partials(const Tensor&, const Tensor&, int64_t, double, const Tensor&) override {}
  void cross_entropy_merge(const Tensor&, const Tensor&, const Tensor&, const Tensor&) override {}
  void cross_entropy_backward(const Tensor&, const Tensor&, const Tensor&, int64_t, double, double) override {}
  void adamw(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const AdamWStep&) override {}
  double sum(const Tensor&) override { return 0; }
  double sum_of_squares(const Tensor&) override { return 0; }
  std::optional<int64_t> first_not_finite(const Tensor&) override { return std::nullopt; }

 private:
  void count_attention(double flops, const AttentionSpan& span);

  DType dtype_;
  Flops flops_;
};

}  // namespace ropewalk

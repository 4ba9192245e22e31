// A backend that computes nothing, for plans: what runs on it makes all its calls and takes all its memory, and both
// are counted. Its memory is addresses with no bytes behind them, which read as zero and may not be written; numbers
// that would be computed are 0.
#pragma once

#include "kernels/flops.h"
#include "kernels/kernels.h"

namespace ropewalk {

class CountingBackend final : public Backend {
 public:
  struct Flops {
    double products = 0, full_attention = 0, sliding_attention = 0;
    double total() const { return products + full_attention + sliding_attention; }
    void add(const Flops& other, double times);
  };

  explicit CountingBackend(DType dtype) : dtype_(dtype) {}
  const Flops& flops() const { return flops_; }

  Device device() const override { return {}; }
  DType dtype() const override { return dtype_; }
  const char* name() const override { return "counting"; }
  bool computes() const override { return false; }
  std::unique_ptr<Buffer> allocate(int64_t bytes) override;
  void upload(const void*, const Tensor&) override {}
  void download(const Tensor& x, void* host) override;
  void synchronize() override {}

  void linear_forward(const Tensor& x, const Tensor& w, const Tensor&, Write) override {
    flops_.products += product_flops(x, w.rows());
  }
  void linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor&, Write) override {
    flops_.products += product_flops(dy, w.extent(1));
  }
  void linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor&) override {
    flops_.products += product_flops(dy, x.extent(1));
  }
  void attention_forward(const Tensor& q, const Tensor& k, const Tensor&, const AttentionSpan& span, const Tensor&,
                         const Tensor&) override {
    add_attention(Pass::kForward, q, k, span);
  }
  void attention_backward(const Tensor& q, const Tensor& k, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                          const AttentionSpan& span, const Tensor&, const Tensor&, const Tensor&) override {
    add_attention(Pass::kBackward, q, k, span);
  }

 private:
  void add_attention(Pass pass, const Tensor& q, const Tensor& k, const AttentionSpan& span);

  DType dtype_;
  Flops flops_;
};

}  // namespace ropewalk

// The cuda backend: bf16 weights and activations, fp32 sums. Each family of operations has its own file in this folder:
// its kernels, and the members that launch them.
#pragma once

#include <map>
#include <memory>

#include "kernels/cuda/attention/geometry.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/ranges.h"
#include "kernels/cuda/runtime.h"
#include "kernels/make_kernels.h"

namespace ROPEWALK_CUDA {

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const BackendOptions& options);
  ~CudaBackend() override;

  Device device() const override { return runtime_.device(); }
  DType dtype() const override { return DType::kBF16; }
  const char* name() const override { return "cuda"; }
  bool deterministic() const override { return deterministic_; }
  std::optional<DeviceStatus> device_status() const override;
  std::optional<int64_t> peak_device_bytes() const override { return runtime_.peak_bytes(); }
  RangeMarker* range_marker() override { return ROPEWALK_CUDA::range_marker(); }
  DeviceTimeline* device_timeline() override { return &runtime_; }
  Runtime& runtime() { return runtime_; }  // for communicators, which send device tensors

  std::unique_ptr<Buffer> allocate(int64_t bytes) override;
  void upload(const void* host, const Tensor& x) override;
  void download(const Tensor& x, void* host) override;
  void synchronize() override { runtime_.synchronize(); }

  void copy(const Tensor& from, const Tensor& to) override;
  void cast(const Tensor& from, const Tensor& to) override;
  void fill(const Tensor& x, double value) override;
  void add(const Tensor& a, const Tensor& b, const Tensor& y) override;

  void linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) override;
  void linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) override;
  void linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw, Write write) override;

  void embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x) override;
  void embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) override;

  void layer_norm_forward(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y, const Tensor& mean,
                          const Tensor& rstd) override;
  void layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
                           const Tensor& through, const Tensor& dx, const Tensor& dw, Write write) override;

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
  void cross_entropy_merge(const Tensor& partials, const Tensor& targets, const Tensor& log_sum,
                           const Tensor& losses) override;
  void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum, int64_t v_begin,
                              double logit_scale, double loss_scale) override;

  void adamw(const Tensor& w, const Tensor& g, const Tensor& m, const Tensor& v, const Tensor& narrow,
             const AdamWStep& step) override;
  double sum(const Tensor& x) override;
  double sum_of_squares(const Tensor& x) override;
  std::optional<int64_t> first_not_finite(const Tensor& x) override;

 private:
  // The two forms of attention; each has a folder in attention/.
  void portable_attention_forward(const AttentionShape& s, const Tensor& q, const Tensor& k, const Tensor& v,
                                  const Tensor& o, const Tensor& lse);
  void hopper_attention_forward(const AttentionShape& s, const Tensor& q, const Tensor& k, const Tensor& v,
                                const Tensor& o, const Tensor& lse);
  void portable_attention_backward(const AttentionShape& s, const Tensor& q, const Tensor& k, const Tensor& v,
                                   const Tensor& d_o, const Tensor& lse, const Tensor& delta, const Tensor& dq,
                                   const Tensor& dk, const Tensor& dv);
  void hopper_attention_backward(const AttentionShape& s, const Tensor& q, const Tensor& k, const Tensor& v,
                                 const Tensor& d_o, const Tensor& lse, const Tensor& delta, const Tensor& dq,
                                 const Tensor& dk, const Tensor& dv);

  void multiply(const Product& product, const Tensor& c);
  // RoPE's frequencies, in revolutions per position: theta^(-2k/K) / (2 pi) for k < K/2, in device memory.
  const double* frequencies(int64_t K, double theta);

  const bool deterministic_;
  AttentionForm attention_;
  bool could_be_faster_ = false;  // DeviceStatus::could_be_faster
  Runtime runtime_;
  Products products_;
  std::unique_ptr<Buffer> taken_;  // RowSchedule::taken; only with the Hopper form of attention
  std::map<std::pair<int64_t, double>, std::unique_ptr<Buffer>> frequencies_;
};

}  // namespace ROPEWALK_CUDA

// A base class for test doubles: it forwards every call to another backend. Subclasses override operations to observe
// or alter them.
#pragma once

#include "kernels/kernels.h"

namespace ropewalk {

class ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(Backend& inner) : inner_(inner) {}

  Device device() const override { return inner_.device(); }
  DType dtype() const override { return inner_.dtype(); }
  const char* name() const override { return inner_.name(); }
  Arithmetic arithmetic() const override { return inner_.arithmetic(); }
  void count(const Work& work) override { inner_.count(work); }
  bool computes() const override { return inner_.computes(); }
  bool deterministic() const override { return inner_.deterministic(); }
  std::optional<DeviceStatus> device_status() const override { return inner_.device_status(); }
  std::optional<int64_t> peak_device_bytes() const override { return inner_.peak_device_bytes(); }
  RangeMarker* range_marker() override { return inner_.range_marker(); }
  DeviceTimeline* device_timeline() override { return inner_.device_timeline(); }

  std::unique_ptr<Buffer> allocate(int64_t bytes) override { return inner_.allocate(bytes); }
  void upload(const void* host, const Tensor& x) override { inner_.upload(host, x); }
  void download(const Tensor& x, void* host) override { inner_.download(x, host); }
  void synchronize() override { inner_.synchronize(); }
  void copy(const Tensor& from, const Tensor& to) override { inner_.copy(from, to); }
  void cast(const Tensor& from, const Tensor& to) override { inner_.cast(from, to); }
  void fill(const Tensor& x, double value) override { inner_.fill(x, value); }
  void add(const Tensor& a, const Tensor& b, const Tensor& y) override { inner_.add(a, b, y); }
  void linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) override {
    inner_.linear_forward(x, w, y, write);
  }
  void linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) override {
    inner_.linear_backward_input(dy, w, dx, write);
  }
  void linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw, Write write) override {
    inner_.linear_backward_weight(dy, x, dw, write);
  }
  void embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x) override {
    inner_.embedding_forward(tokens, table, v_begin, x);
  }
  void embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) override {
    inner_.embedding_backward(tokens, dx, v_begin, dtable);
  }
  void layer_norm_forward(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y, const Tensor& mean,
                          const Tensor& rstd) override {
    inner_.layer_norm_forward(x, w, epsilon, y, mean, rstd);
  }
  void layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
                           const Tensor& through, const Tensor& dx, const Tensor& dw, Write write) override {
    inner_.layer_norm_backward(dy, x, w, mean, rstd, through, dx, dw, write);
  }
  void rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction) override {
    inner_.rotate(x, first_position, theta, direction);
  }
  void swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h) override {
    inner_.swiglu_forward(gate, up, h);
  }
  void swiglu_backward(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                       const Tensor& dup) override {
    inner_.swiglu_backward(dh, gate, up, dgate, dup);
  }
  void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span, const Tensor& o,
                         const Tensor& lse) override {
    inner_.attention_forward(q, k, v, span, o, lse);
  }
  void attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta) override {
    inner_.attention_delta(d_o, o, delta);
  }
  void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o, const Tensor& lse,
                          const Tensor& delta, const AttentionSpan& span, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) override {
    inner_.attention_backward(q, k, v, d_o, lse, delta, span, dq, dk, dv);
  }
  void cross_entropy_partials(const Tensor& logits, const Tensor& targets, int64_t v_begin, double logit_scale,
                              const Tensor& partials) override {
    inner_.cross_entropy_partials(logits, targets, v_begin, logit_scale, partials);
  }
  void cross_entropy_merge(const Tensor& partials, const Tensor& targets, const Tensor& log_sum,
                           const Tensor& losses) override {
    inner_.cross_entropy_merge(partials, targets, log_sum, losses);
  }
  void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum, int64_t v_begin,
                              double logit_scale, double loss_scale) override {
    inner_.cross_entropy_backward(logits, targets, log_sum, v_begin, logit_scale, loss_scale);
  }
  void adamw(const Tensor& w, const Tensor& g, const Tensor& m, const Tensor& v, const Tensor& narrow,
             const AdamWStep& step) override {
    inner_.adamw(w, g, m, v, narrow, step);
  }
  double sum(const Tensor& x) override { return inner_.sum(x); }
  double sum_of_squares(const Tensor& x) override { return inner_.sum_of_squares(x); }
  std::optional<int64_t> first_not_finite(const Tensor& x) override { return inner_.first_not_finite(x); }

 private:
  Backend& inner_;
};

}  // namespace ropewalk

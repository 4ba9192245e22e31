// The reference backend: checks of the contract, then the loops of this folder, in fp64 or fp32 on the host. It is the
// definition that other backends are compared with.
#pragma once

#include "kernels/host_buffer.h"
#include "kernels/reference/adamw.h"
#include "kernels/reference/attention.h"
#include "kernels/reference/cross_entropy.h"
#include "kernels/reference/elementwise.h"
#include "kernels/reference/embedding.h"
#include "kernels/reference/layer_norm.h"
#include "kernels/reference/linear.h"
#include "kernels/reference/rotate.h"
#include "kernels/reference/swiglu.h"

namespace ropewalk {

// S is float or double: the compute type, and the accumulator type.
template <typename S>
class ReferenceKernels : public Kernels {
 public:
  Device device() const override { return {}; }
  DType dtype() const override { return dtype_of<S>; }
  const char* name() const override { return "reference"; }

  std::unique_ptr<Buffer> allocate(int64_t bytes) override { return allocate_host(bytes, allocations_++); }
  void upload(const void* host, const Tensor& x) override { reference::copy_bytes(host, x.raw(), x.bytes()); }
  void download(const Tensor& x, void* host) override { reference::copy_bytes(x.raw(), host, x.bytes()); }
  void synchronize() override {}

  void copy(const Tensor& from, const Tensor& to) override {
    reference::copy_bytes(from.raw(), to.raw(), reference::copy_bytes_count(*this, from, to));
  }
  void cast(const Tensor& from, const Tensor& to) override {
    const int64_t count = reference::cast_count(*this, from, to);
    reference::visit_floating(from.dtype(), [&](auto source) {
      reference::visit_floating(to.dtype(), [&](auto target) {
        reference::cast(count, from.data<decltype(source)>(), to.data<decltype(target)>());
      });
    });
  }
  void fill(const Tensor& x, double value) override {
    const int64_t count = reference::floating_count(*this, "fill: x", x);
    reference::visit_floating(x.dtype(),
                              [&](auto element) { reference::fill(count, x.data<decltype(element)>(), value); });
  }
  void add(const Tensor& a, const Tensor& b, const Tensor& y) override {
    const int64_t count = reference::add_count(*this, a, b, y);
    reference::visit_floating(a.dtype(), [&](auto element) {
      using E = decltype(element);
      reference::add(count, a.data<E>(), b.data<E>(), y.data<E>());
    });
  }

  void linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) override {
    const auto sizes = reference::linear_forward_sizes(*this, x, w, y);
    reference::linear_forward(sizes, x.data<S>(), w.data<S>(), y.data<S>(), write);
  }
  void linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) override {
    const auto sizes = reference::linear_backward_input_sizes(*this, dy, w, dx);
    reference::linear_backward_input(sizes, dy.data<S>(), w.data<S>(), dx.data<S>(), write);
  }
  void linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw) override {
    const auto sizes = reference::linear_backward_weight_sizes(*this, dy, x, dw);
    reference::linear_backward_weight(sizes, dy.data<S>(), x.data<S>(), dw.data<S>());
  }

  void embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x) override {
    const auto sizes = reference::embedding_forward_sizes(*this, tokens, table, x);
    reference::embedding_forward(sizes, tokens.data<int32_t>(), table.data<S>(), v_begin, x.data<S>());
  }
  void embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) override {
    const auto sizes = reference::embedding_backward_sizes(*this, tokens, dx, dtable);
    reference::embedding_backward(sizes, tokens.data<int32_t>(), dx.data<S>(), v_begin, dtable.data<S>());
  }

  void layer_norm_forward(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y, const Tensor& mean,
                          const Tensor& rstd) override {
    const auto sizes = reference::layer_norm_forward_sizes(*this, x, w, y, mean, rstd);
    reference::layer_norm_forward(sizes, x.data<S>(), w.data<S>(), epsilon, y.data<S>(), mean.data<S>(),
                                  rstd.data<S>());
  }
  void layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
                           const Tensor& through, const Tensor& dx, const Tensor& dw) override {
    const auto sizes = reference::layer_norm_backward_sizes(*this, dy, x, w, mean, rstd, through, dx, dw);
    reference::layer_norm_backward(sizes, dy.data<S>(), x.data<S>(), w.data<S>(), mean.data<S>(), rstd.data<S>(),
                                   through.empty() ? nullptr : through.data<S>(), dx.data<S>(), dw.data<S>());
  }

  void rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction) override {
    const auto sizes = reference::rotate_sizes(*this, x, first_position, theta);
    reference::rotate(sizes, x.data<S>(), first_position, theta, direction);
  }

  void swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h) override {
    const int64_t count = reference::swiglu_forward_count(*this, gate, up, h);
    reference::swiglu_forward(count, gate.data<S>(), up.data<S>(), h.data<S>());
  }
  void swiglu_backward(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                       const Tensor& dup) override {
    const int64_t count = reference::swiglu_backward_count(*this, dh, gate, up, dgate, dup);
    reference::swiglu_backward(count, dh.data<S>(), gate.data<S>(), up.data<S>(), dgate.data<S>(), dup.data<S>());
  }

  void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span, const Tensor& o,
                         const Tensor& lse) override {
    const auto sizes = attention_forward_sizes(*this, q, k, v, span, o, lse);
    reference::attention_forward(sizes, AttentionMask(sizes, span), q.data<S>(), k.data<S>(), v.data<S>(), o.data<S>(),
                                 lse.data<S>());
  }
  void attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta) override {
    const auto sizes = attention_delta_sizes(*this, d_o, o, delta);
    reference::attention_delta(sizes.rows, sizes.K, d_o.data<S>(), o.data<S>(), delta.data<S>());
  }
  void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o, const Tensor& lse,
                          const Tensor& delta, const AttentionSpan& span, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) override {
    const auto sizes = attention_backward_sizes(*this, q, k, v, d_o, lse, delta, span, dq, dk, dv);
    reference::attention_backward(sizes, AttentionMask(sizes, span), q.data<S>(), k.data<S>(), v.data<S>(),
                                  d_o.data<S>(), lse.data<S>(), delta.data<S>(), dq.data<S>(), dk.data<S>(),
                                  dv.data<S>());
  }

  void cross_entropy_partials(const Tensor& logits, const Tensor& targets, int64_t v_begin, double logit_scale,
                              const Tensor& partials) override {
    const auto sizes = reference::cross_entropy_partials_sizes(*this, logits, targets, partials);
    reference::cross_entropy_partials(sizes, logits.data<S>(), targets.data<int32_t>(), v_begin, logit_scale,
                                      partials.data<S>());
  }
  void cross_entropy_merge(const Tensor& partials, const Tensor& targets, const Tensor& log_sum,
                           const Tensor& losses) override {
    const auto sizes = reference::cross_entropy_merge_sizes(*this, partials, targets, log_sum, losses);
    reference::cross_entropy_merge(sizes, partials.data<S>(), targets.data<int32_t>(), log_sum.data<S>(),
                                   losses.data<S>());
  }
  void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum, int64_t v_begin,
                              double logit_scale, double loss_scale) override {
    const auto sizes = reference::cross_entropy_backward_sizes(*this, logits, targets, log_sum);
    reference::cross_entropy_backward(sizes, logits.data<S>(), targets.data<int32_t>(), log_sum.data<S>(), v_begin,
                                      logit_scale, loss_scale);
  }

  void adamw(const Tensor& w, const Tensor& g, const Tensor& m, const Tensor& v, const AdamWStep& step) override {
    const int64_t count = reference::adamw_count(*this, w, g, m, v, step);
    reference::adamw(count, w.data<S>(), g.data<S>(), m.data<S>(), v.data<S>(), step);
  }
  double sum(const Tensor& x) override {
    const int64_t count = reference::floating_count(*this, "sum: x", x);
    return reference::visit_floating(x.dtype(),
                                     [&](auto element) { return reference::sum(count, x.data<decltype(element)>()); });
  }
  double sum_of_squares(const Tensor& x) override {
    const int64_t count = reference::floating_count(*this, "sum_of_squares: x", x);
    return reference::visit_floating(
        x.dtype(), [&](auto element) { return reference::sum_of_squares(count, x.data<decltype(element)>()); });
  }
  std::optional<int64_t> first_not_finite(const Tensor& x) override {
    const int64_t count = reference::floating_count(*this, "first_not_finite: x", x);
    return reference::visit_floating(
        x.dtype(), [&](auto element) { return reference::first_not_finite(count, x.data<decltype(element)>()); });
  }

 private:
  int64_t allocations_ = 0;
};

extern template class ReferenceKernels<float>;
extern template class ReferenceKernels<double>;

}  // namespace ropewalk

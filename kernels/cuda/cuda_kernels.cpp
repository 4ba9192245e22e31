// Operands checked as everywhere, then handed to the kernels.
#include "kernels/cuda/cuda_kernels.h"

#include <algorithm>
#include <vector>

#include "kernels/attention_mask.h"
#include "kernels/cuda/operations.h"
#include "kernels/reference/adamw.h"
#include "kernels/reference/cross_entropy.h"
#include "kernels/reference/elementwise.h"
#include "kernels/reference/embedding.h"
#include "kernels/reference/layer_norm.h"
#include "kernels/reference/linear.h"
#include "kernels/reference/rotate.h"
#include "kernels/reference/swiglu.h"

namespace ROPEWALK_CUDA {
namespace {

class DeviceBuffer final : public Buffer {
 public:
  DeviceBuffer(Runtime& runtime, int64_t bytes) : Buffer(runtime.allocate(bytes), bytes), runtime_(runtime) {}
  ~DeviceBuffer() override { runtime_.release(data_, bytes_); }

 private:
  Runtime& runtime_;
};

// The elements as the kernels call them; null for an absent tensor.
template <typename E>
E* at(const Tensor& x) {
  return static_cast<E*>(x.raw());
}

// What the kernels read and write at once.
void check_aligned(const Tensor& x, uintptr_t bytes) {
  CHECK(reinterpret_cast<uintptr_t>(x.raw()) % bytes == 0, "an operand on cuda is not aligned to {} bytes", bytes);
}

// Calls f with an element of the type.
template <typename F>
auto visit(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF64:
      return f(double{});
    case DType::kBF16:
      return f(Bf16{});
    default:
      return f(float{});
  }
}

}  // namespace

CudaKernels::CudaKernels(const BackendOptions& options)
    : deterministic_(options.deterministic), runtime_(options.local_rank), products_(runtime_) {}
CudaKernels::~CudaKernels() = default;

std::unique_ptr<Buffer> CudaKernels::allocate(int64_t bytes) { return std::make_unique<DeviceBuffer>(runtime_, bytes); }
void CudaKernels::upload(const void* host, const Tensor& x) { runtime_.to_device(host, x.raw(), x.bytes()); }
void CudaKernels::download(const Tensor& x, void* host) { runtime_.to_host(x.raw(), host, x.bytes()); }

void CudaKernels::copy(const Tensor& from, const Tensor& to) {
  runtime_.copy(from.raw(), to.raw(), reference::copy_bytes_count(*this, from, to), runtime_.stream());
}

void CudaKernels::cast(const Tensor& from, const Tensor& to) {
  const int64_t count = reference::cast_count(*this, from, to);
  visit(from.dtype(), [&](auto source) {
    visit(to.dtype(), [&](auto target) {
      ROPEWALK_CUDA::cast<decltype(source), decltype(target)>(runtime_, count, at<decltype(source)>(from),
                                                              at<decltype(target)>(to));
    });
  });
}

void CudaKernels::fill(const Tensor& x, double value) {
  const int64_t count = reference::floating_count(*this, "fill: x", x);
  visit(x.dtype(), [&](auto element) { ROPEWALK_CUDA::fill(runtime_, count, at<decltype(element)>(x), value); });
}

void CudaKernels::add(const Tensor& a, const Tensor& b, const Tensor& y) {
  const int64_t count = reference::add_count(*this, a, b, y);
  visit(a.dtype(), [&](auto element) {
    using E = decltype(element);
    ROPEWALK_CUDA::add<E>(runtime_, count, at<E>(a), at<E>(b), at<E>(y));
  });
}

double CudaKernels::sum(const Tensor& x) {
  const int64_t count = reference::floating_count(*this, "sum: x", x);
  return visit(x.dtype(), [&](auto element) {
    return ROPEWALK_CUDA::sum<decltype(element)>(runtime_, count, at<decltype(element)>(x), Term::kItself);
  });
}

double CudaKernels::sum_of_squares(const Tensor& x) {
  const int64_t count = reference::floating_count(*this, "sum_of_squares: x", x);
  return visit(x.dtype(), [&](auto element) {
    return ROPEWALK_CUDA::sum<decltype(element)>(runtime_, count, at<decltype(element)>(x), Term::kSquare);
  });
}

std::optional<int64_t> CudaKernels::first_not_finite(const Tensor& x) {
  const int64_t count = reference::floating_count(*this, "first_not_finite: x", x);
  const int64_t first = visit(x.dtype(), [&](auto element) {
    return ROPEWALK_CUDA::first_not_finite<decltype(element)>(runtime_, count, at<decltype(element)>(x));
  });
  return first < count ? std::optional(first) : std::nullopt;
}

// Products over nothing are 0; libraries do not all say so.
void CudaKernels::multiply(const Product& p) {
  if (p.rows == 0 || p.columns == 0) return;
  if (p.inner > 0) return products_.multiply(p);
  if (p.write == Write::kSet) ROPEWALK_CUDA::fill(runtime_, p.rows * p.columns, static_cast<Bf16*>(p.c), 0.0);
}

void CudaKernels::linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) {
  const auto s = reference::linear_forward_sizes(*this, x, w, y);
  multiply({s.N, s.O, s.I, x.raw(), w.raw(), false, true, y.raw(), DType::kBF16, write});
}

void CudaKernels::linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) {
  const auto s = reference::linear_backward_input_sizes(*this, dy, w, dx);
  multiply({s.N, s.I, s.O, dy.raw(), w.raw(), false, false, dx.raw(), DType::kBF16, write});
}

void CudaKernels::linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw) {
  const auto s = reference::linear_backward_weight_sizes(*this, dy, x, dw);
  multiply({s.O, s.I, s.N, dy.raw(), x.raw(), true, false, dw.raw(), DType::kF32, Write::kAdd});
}

void CudaKernels::embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x) {
  const auto s = reference::embedding_forward_sizes(*this, tokens, table, x);
  ROPEWALK_CUDA::embedding_forward(runtime_, s.N, s.V, s.D, tokens.data<int32_t>(), at<Bf16>(table), v_begin,
                                   at<Bf16>(x));
}

void CudaKernels::embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) {
  const auto s = reference::embedding_backward_sizes(*this, tokens, dx, dtable);
  ROPEWALK_CUDA::embedding_backward(runtime_, s.N, s.V, s.D, tokens.data<int32_t>(), at<Bf16>(dx), v_begin,
                                    dtable.data<float>());
}

namespace {

// The kernels hold rows in registers.
void check_width(int64_t D, int pack) {
  CHECK(D <= widest_layer_norm(pack), "a layer norm over {} numbers on cuda, {} at most", D, widest_layer_norm(pack));
}

}  // namespace

void CudaKernels::layer_norm_forward(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y,
                                     const Tensor& mean, const Tensor& rstd) {
  const auto s = reference::layer_norm_forward_sizes(*this, x, w, y, mean, rstd);
  check_width(s.D, pack_of(s.D, sizeof(Bf16), x.raw(), w.raw(), y.raw()));
  ROPEWALK_CUDA::layer_norm_forward(runtime_, s.N, s.D, s.M, at<Bf16>(x), at<Bf16>(w), static_cast<float>(epsilon),
                                    at<Bf16>(y), mean.data<float>(), rstd.data<float>());
}

void CudaKernels::layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                                      const Tensor& rstd, const Tensor& through, const Tensor& dx, const Tensor& dw) {
  const auto s = reference::layer_norm_backward_sizes(*this, dy, x, w, mean, rstd, through, dx, dw);
  check_width(s.D, pack_of(s.D, sizeof(Bf16), dy.raw(), x.raw(), w.raw(), through.raw(), dx.raw()));
  ROPEWALK_CUDA::layer_norm_backward(runtime_, s.N, s.D, s.M, at<Bf16>(dy), at<Bf16>(x), at<Bf16>(w),
                                     mean.data<float>(), rstd.data<float>(), at<Bf16>(through), at<Bf16>(dx),
                                     dw.data<float>());
}

const double* CudaKernels::frequencies(int64_t K, double theta) {
  std::unique_ptr<Buffer>& buffer = frequencies_[{K, theta}];
  if (!buffer) {
    std::vector<double> host;
    for (int64_t k = 0; k < K / 2; ++k) host.push_back(reference::rotation_angle(1, k, K, theta));
    const auto bytes = static_cast<int64_t>(host.size() * sizeof(double));
    buffer = allocate(bytes);
    runtime_.to_device(host.data(), buffer->data(), bytes);
  }
  return static_cast<const double*>(buffer->data());
}

void CudaKernels::rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction) {
  const auto s = reference::rotate_sizes(*this, x, first_position, theta);
  check_aligned(x, 2 * static_cast<uintptr_t>(size_of(x.dtype())));  // pairs
  const float sign = direction == Rotation::kForward ? 1 : -1;
  const double* turns = frequencies(s.K, theta);
  if (x.dtype() == DType::kBF16)
    ROPEWALK_CUDA::rotate(runtime_, s.T, s.H, s.K, at<Bf16>(x), first_position, turns, sign);
  else
    ROPEWALK_CUDA::rotate(runtime_, s.T, s.H, s.K, at<float>(x), first_position, turns, sign);
}

void CudaKernels::swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h) {
  const int64_t count = reference::swiglu_forward_count(*this, gate, up, h);
  ROPEWALK_CUDA::swiglu_forward(runtime_, count, at<Bf16>(gate), at<Bf16>(up), at<Bf16>(h));
}

void CudaKernels::swiglu_backward(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                                  const Tensor& dup) {
  const int64_t count = reference::swiglu_backward_count(*this, dh, gate, up, dgate, dup);
  ROPEWALK_CUDA::swiglu_backward(runtime_, count, at<Bf16>(dh), at<Bf16>(gate), at<Bf16>(up), at<Bf16>(dgate),
                                 at<Bf16>(dup));
}

namespace {

void check_heads(int64_t K, std::initializer_list<Tensor> operands) {
  for (const Tensor& x : operands) check_aligned(x, 16);
  const BackendLimits limits = limits_of(Backend::kCuda);
  CHECK(std::ranges::find(limits.head_sizes, K) != limits.head_sizes.end(), "attention of head size {} on cuda", K);
}

AttentionShape shape_of(const AttentionSizes& s, const AttentionSpan& span, std::initializer_list<Tensor> operands) {
  check_heads(s.K, operands);
  const int64_t most = limits_of(Backend::kCuda).most_grouped_heads;
  CHECK(s.H / s.G <= most, "attention of {} query heads to a key head on cuda", s.H / s.G);
  return {s.T,
          s.U,
          s.H,
          s.G,
          s.K,
          span.q_begin,
          span.k_begin,
          std::min<int64_t>(span.window.value_or(0), int64_t{1} << 40),
          span.document_begin.empty() ? nullptr : span.document_begin.data<int32_t>()};
}

}  // namespace

void CudaKernels::attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span,
                                    const Tensor& o, const Tensor& lse) {
  const AttentionSizes s = attention_forward_sizes(*this, q, k, v, span, o, lse);
  ROPEWALK_CUDA::attention_forward(runtime_, shape_of(s, span, {q, k, v, o}), at<Bf16>(q), at<Bf16>(k), at<Bf16>(v),
                                   o.data<float>(), lse.data<float>());
}

void CudaKernels::attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta) {
  const AttentionDeltaSizes s = attention_delta_sizes(*this, d_o, o, delta);
  check_heads(s.K, {d_o, o});
  ROPEWALK_CUDA::attention_delta(runtime_, s.rows, s.K, at<Bf16>(d_o), at<Bf16>(o), delta.data<float>());
}

void CudaKernels::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o,
                                     const Tensor& lse, const Tensor& delta, const AttentionSpan& span,
                                     const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  const AttentionSizes s = attention_backward_sizes(*this, q, k, v, d_o, lse, delta, span, dq, dk, dv);
  ROPEWALK_CUDA::attention_backward(runtime_, shape_of(s, span, {q, k, v, d_o, dq, dk, dv}), at<Bf16>(q), at<Bf16>(k),
                                    at<Bf16>(v), at<Bf16>(d_o), lse.data<float>(), delta.data<float>(),
                                    dq.data<float>(), dk.data<float>(), dv.data<float>(), deterministic_);
}

void CudaKernels::cross_entropy_partials(const Tensor& logits, const Tensor& targets, int64_t v_begin,
                                         double logit_scale, const Tensor& partials) {
  const auto s = reference::cross_entropy_partials_sizes(*this, logits, targets, partials);
  ROPEWALK_CUDA::cross_entropy_partials(runtime_, s.N, s.V, at<Bf16>(logits), targets.data<int32_t>(), v_begin,
                                        static_cast<float>(logit_scale), partials.data<float>());
}

void CudaKernels::cross_entropy_merge(const Tensor& partials, const Tensor& targets, const Tensor& log_sum,
                                      const Tensor& losses) {
  const auto s = reference::cross_entropy_merge_sizes(*this, partials, targets, log_sum, losses);
  ROPEWALK_CUDA::cross_entropy_merge(runtime_, s.R, s.N, partials.data<float>(), targets.data<int32_t>(),
                                     log_sum.data<float>(), losses.data<float>());
}

void CudaKernels::cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                                         int64_t v_begin, double logit_scale, double loss_scale) {
  const auto s = reference::cross_entropy_backward_sizes(*this, logits, targets, log_sum);
  ROPEWALK_CUDA::cross_entropy_backward(runtime_, s.N, s.V, at<Bf16>(logits), targets.data<int32_t>(),
                                        log_sum.data<float>(), v_begin, static_cast<float>(logit_scale),
                                        static_cast<float>(logit_scale * loss_scale));
}

void CudaKernels::adamw(const Tensor& w, const Tensor& g, const Tensor& m, const Tensor& v, const AdamWStep& step) {
  const int64_t count = reference::adamw_count(*this, w, g, m, v, step);
  const reference::AdamWFactors correct(step);
  const auto narrow = [](double x) { return static_cast<float>(x); };
  ROPEWALK_CUDA::adamw(runtime_, count, w.data<float>(), g.data<float>(), m.data<float>(), v.data<float>(),
                       {narrow(step.gradient_scale), narrow(step.beta1), narrow(1 - step.beta1), narrow(step.beta2),
                        narrow(1 - step.beta2), narrow(correct.first), narrow(correct.second), narrow(step.epsilon),
                        narrow(step.rate), narrow(step.weight_decay)});
}

}  // namespace ROPEWALK_CUDA

// The fast host backend: fp32 or bf16, one thread, in Highway, compiled for several instruction sets, of which the
// program uses the best that the machine supports. Operations that it does not override (copy, fill, the merge of the
// loss) are memory-bound even as plain loops. One file per family of operations in this folder; attention has two.
#pragma once

#include "kernels/cpu/matrix_unit.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/rotation_table.h"
#include "kernels/cpu/scratch.h"
#include "kernels/host_backend.h"

namespace ropewalk {

class CpuBackend final : public HostBackend {
 public:
  // fp32 or bf16. In bf16, `unit` computes products and attention; it must be one that matrix_units() has.
  explicit CpuBackend(DType dtype, MatrixUnit unit = matrix_units().best());

  DType dtype() const override { return dtype_; }
  const char* name() const override { return "cpu"; }
  Arithmetic arithmetic() const override;

  void cast(const Tensor& from, const Tensor& to) override;
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
  void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum, int64_t v_begin,
                              double logit_scale, double loss_scale) override;

  void adamw(const Tensor& w, const Tensor& g, const Tensor& m, const Tensor& v, const Tensor& narrow,
             const AdamWStep& step) override;
  double sum(const Tensor& x) override;
  double sum_of_squares(const Tensor& x) override;
  std::optional<int64_t> first_not_finite(const Tensor& x) override;

 private:
  bool on_matrix_unit() const { return dtype_ == DType::kBF16 && unit_ != MatrixUnit::kVectors; }

  void multiply(const Matrix& a, const Matrix& b, Write write, const Tensor& c);

  DType dtype_;
  MatrixUnit unit_;
  RotationTables rotations_;
  Scratch scratch_;
};

}  // namespace ropewalk

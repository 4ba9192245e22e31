// Products with a weight [O, I].
#include "kernels/operations/linear.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/product.h"

namespace ropewalk {

void CpuBackend::linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) {
  if (!wide()) return Backend::linear_forward(x, w, y, write);
  const auto [N, I, O] = operations::linear_sizes(x, w);
  product({N, O, I}, {x.data<float>(), I}, {w.data<float>(), I, Transpose::kYes}, write, y.data<float>(), scratch_);
}

void CpuBackend::linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) {
  if (!wide()) return Backend::linear_backward_input(dy, w, dx, write);
  const auto [N, I, O] = operations::linear_sizes(dx, w);
  product({N, I, O}, {dy.data<float>(), O}, {w.data<float>(), I}, write, dx.data<float>(), scratch_);
}

void CpuBackend::linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw, Write write) {
  if (!wide()) return Backend::linear_backward_weight(dy, x, dw, write);
  const auto [N, I, O] = operations::linear_sizes(x, dw);
  product({O, I, N}, {dy.data<float>(), O, Transpose::kYes}, {x.data<float>(), I}, write, dw.data<float>(), scratch_);
}

}  // namespace ropewalk

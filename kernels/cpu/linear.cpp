// Products with a weight [O, I].
#include "kernels/operations/linear.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/tiles/product.h"

namespace ropewalk {

void CpuBackend::linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) {
  const auto [N, I, O] = operations::linear_sizes(x, w);
  if (on_matrix_unit())
    return tiles::product(unit_, {N, O, I}, {x.data<BFloat16>(), I}, {w.data<BFloat16>(), I, Transpose::kYes}, write,
                          y.data<BFloat16>(), scratch_);
  if (!wide()) return Backend::linear_forward(x, w, y, write);
  product({N, O, I}, {x.data<float>(), I}, {w.data<float>(), I, Transpose::kYes}, write, y.data<float>(), scratch_);
}

void CpuBackend::linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) {
  const auto [N, I, O] = operations::linear_sizes(dx, w);
  if (on_matrix_unit())
    return tiles::product(unit_, {N, I, O}, {dy.data<BFloat16>(), O}, {w.data<BFloat16>(), I}, write,
                          dx.data<BFloat16>(), scratch_);
  if (!wide()) return Backend::linear_backward_input(dy, w, dx, write);
  product({N, I, O}, {dy.data<float>(), O}, {w.data<float>(), I}, write, dx.data<float>(), scratch_);
}

void CpuBackend::linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw, Write write) {
  const auto [N, I, O] = operations::linear_sizes(x, dw);
  if (on_matrix_unit())
    return tiles::product(unit_, {O, I, N}, {dy.data<BFloat16>(), O, Transpose::kYes}, {x.data<BFloat16>(), I}, write,
                          dw.data<float>(), scratch_);
  if (!wide()) return Backend::linear_backward_weight(dy, x, dw, write);
  product({O, I, N}, {dy.data<float>(), O, Transpose::kYes}, {x.data<float>(), I}, write, dw.data<float>(), scratch_);
}

}  // namespace ropewalk

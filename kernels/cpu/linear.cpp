// Products with a weight [O, I].
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/product.h"

namespace ropewalk {

void CpuBackend::linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) {
  product({x}, {w, Transpose::kYes}, write, y, scratch_);
}

void CpuBackend::linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) {
  product({dy}, {w}, write, dx, scratch_);
}

void CpuBackend::linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw, Write write) {
  product({dy, Transpose::kYes}, {x}, write, dw, scratch_);
}

}  // namespace ropewalk

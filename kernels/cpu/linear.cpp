// Products with a weight [O, I].
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/tiles/product.h"

namespace ropewalk {

void CpuBackend::multiply(const Matrix& a, const Matrix& b, Write write, const Tensor& c) {
  if (on_matrix_unit()) return tiles::product(unit_, a, b, write, c, scratch_);
  product(a, b, write, c, scratch_);
}

void CpuBackend::linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) {
  multiply({x}, {w, Transpose::kYes}, write, y);
}

void CpuBackend::linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) {
  multiply({dy}, {w}, write, dx);
}

void CpuBackend::linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw, Write write) {
  multiply({dy, Transpose::kYes}, {x}, write, dw);
}

}  // namespace ropewalk

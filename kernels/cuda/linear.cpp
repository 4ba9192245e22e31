// Products with a weight [O, I].
#include "kernels/operations/linear.h"

#include "kernels/cuda/cuda_backend.h"

namespace ROPEWALK_CUDA {

// Products over an inner dimension of 0 are 0. Not all libraries define them so.
void CudaBackend::multiply(const Product& p, const Tensor& c) {
  if (p.rows == 0 || p.columns == 0) return;
  if (p.inner > 0) return products_.multiply(p);
  if (p.write == Write::kSet) fill(c, 0);
}

void CudaBackend::linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) {
  const auto [N, I, O] = operations::linear_sizes(x, w);
  multiply({N, O, I, x.raw(), w.raw(), false, true, y.raw(), DType::kBF16, write}, y);
}

void CudaBackend::linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) {
  const auto [N, I, O] = operations::linear_sizes(dx, w);
  multiply({N, I, O, dy.raw(), w.raw(), false, false, dx.raw(), DType::kBF16, write}, dx);
}

void CudaBackend::linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw, Write write) {
  const auto [N, I, O] = operations::linear_sizes(x, dw);
  multiply({O, I, N, dy.raw(), x.raw(), true, false, dw.raw(), DType::kF32, write}, dw);
}

}  // namespace ROPEWALK_CUDA

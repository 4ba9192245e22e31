// Products with a weight [O, I].
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/sgemm.h"

namespace ropewalk {

void CpuKernels::linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) {
  const auto [N, I, O] = reference::linear_forward_sizes(*this, x, w, y);
  const SingleThread single_thread;
  sgemm(N, O, I, 1, {x.data<float>(), I}, {w.data<float>(), I, Transpose::kYes}, write == Write::kAdd ? 1 : 0,
        y.data<float>(), O);
}

void CpuKernels::linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) {
  const auto [N, I, O] = reference::linear_backward_input_sizes(*this, dy, w, dx);
  const SingleThread single_thread;
  sgemm(N, I, O, 1, {dy.data<float>(), O}, {w.data<float>(), I}, write == Write::kAdd ? 1 : 0, dx.data<float>(), I);
}

void CpuKernels::linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw) {
  const auto [N, I, O] = reference::linear_backward_weight_sizes(*this, dy, x, dw);
  const SingleThread single_thread;
  sgemm(O, I, N, 1, {dy.data<float>(), O, Transpose::kYes}, {x.data<float>(), I}, 1, dw.data<float>(), I);
}

}  // namespace ropewalk

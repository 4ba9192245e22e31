#include "kernels/operations/linear.h"

#include "kernels/flops.h"
#include "kernels/operations/call.h"
#include "kernels/operations/host_operand.h"
#include "kernels/operations/operand.h"
#include "kernels/operations/plain.h"

namespace ropewalk {

using operations::HostInput, operations::HostOutput;

namespace {

// `x` and `w` are the input and the weight, or their gradients.
void check_linear(const Kernels& kernels, const char* name, const Tensor& x, const Tensor& w, DType w_type,
                  const Tensor& y) {
  check_rank(name, x, 2);
  check_rank(name, w, 2);
  const auto [N, I, O] = operations::linear_sizes(x, w);
  check_operand(kernels, name, x, kernels.dtype(), {N, I});
  check_operand(kernels, name, w, w_type, {O, I});
  check_operand(kernels, name, y, kernels.dtype(), {N, O});
}

}  // namespace

void Kernels::linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) {
  check_apart("linear_forward: y", y, {x, w});
  check_linear(*this, "linear_forward", x, w, dtype(), y);
  call(
      __func__, [&] { return Work{{.products = product_flops(x, w.rows())}}; },
      [&] { backend_->linear_forward(x, w, y, write); });
}

void Kernels::linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) {
  check_apart("linear_backward_input: dx", dx, {dy, w});
  check_linear(*this, "linear_backward_input", dx, w, dtype(), dy);
  call(
      __func__, [&] { return Work{{.products = product_flops(dy, w.extent(1))}}; },
      [&] { backend_->linear_backward_input(dy, w, dx, write); });
}

void Kernels::linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw, Write write) {
  check_apart("linear_backward_weight: dw", dw, {dy, x});
  check_linear(*this, "linear_backward_weight", x, dw, accumulator_of(dtype()), dy);
  call(
      __func__, [&] { return Work{{.products = product_flops(dy, x.extent(1))}}; },
      [&] { backend_->linear_backward_weight(dy, x, dw, write); });
}

void Backend::linear_forward(const Tensor& x, const Tensor& w, const Tensor& y, Write write) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    operations::linear_forward<S>(operations::linear_sizes(x, w), HostInput<S>(x), HostInput<S>(w), HostOutput<S>(y),
                                  write);
  });
}

void Backend::linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor& dx, Write write) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    operations::linear_backward_input<S>(operations::linear_sizes(dx, w), HostInput<S>(dy), HostInput<S>(w),
                                         HostOutput<S>(dx), write);
  });
}

void Backend::linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dw, Write write) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    operations::linear_backward_weight<S>(operations::linear_sizes(x, dw), HostInput<S>(dy), HostInput<S>(x),
                                          HostOutput<S>(dw), write);
  });
}

}  // namespace ropewalk

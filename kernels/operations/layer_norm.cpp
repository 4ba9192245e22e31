#include "kernels/operations/layer_norm.h"

#include "kernels/operations/call.h"
#include "kernels/operations/host_operand.h"
#include "kernels/operations/operand.h"
#include "kernels/operations/plain.h"

namespace ropewalk {

using operations::HostInput, operations::HostOutput;

namespace {

void check_layer_norm(const Kernels& kernels, const Tensor& x, const Tensor& w, const Tensor& mean,
                      const Tensor& rstd) {
  check_rank("layer_norm: x", x, 2);
  check_rank("layer_norm: w", w, 2);
  const auto [N, D, M] = operations::layer_norm_sizes(x, w);
  CHECK(D > 0 && M > 0, "layer_norm with weights {}", w.shape().text());
  check_operand(kernels, "layer_norm: x", x, kernels.dtype(), {N, D});
  check_operand(kernels, "layer_norm: w", w, kernels.dtype(), {M, D});
  check_operand(kernels, "layer_norm: mean", mean, accumulator_of(kernels.dtype()), {N});
  check_operand(kernels, "layer_norm: rstd", rstd, accumulator_of(kernels.dtype()), {N});
}

}  // namespace

void Kernels::layer_norm_forward(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y, const Tensor& mean,
                                 const Tensor& rstd) {
  check_layer_norm(*this, x, w, mean, rstd);
  check_operand(*this, "layer_norm_forward: y", y, dtype(), x.shape());
  check_apart("layer_norm_forward: y", y, {x, w});
  call(
      __func__,
      [&] {
        return moved({x, w}, {y, mean, rstd});
      },
      [&] { backend_->layer_norm_forward(x, w, epsilon, y, mean, rstd); });
}

void Kernels::layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                                  const Tensor& rstd, const Tensor& through, const Tensor& dx, const Tensor& dw,
                                  Write write) {
  check_layer_norm(*this, x, w, mean, rstd);
  check_operand(*this, "layer_norm_backward: dy", dy, dtype(), x.shape());
  check_operand(*this, "layer_norm_backward: dx", dx, dtype(), x.shape());
  check_operand(*this, "layer_norm_backward: dw", dw, accumulator_of(dtype()), w.shape());
  if (!through.empty()) check_operand(*this, "layer_norm_backward: through", through, dtype(), x.shape());
  check_apart("layer_norm_backward: dx", dx, {dy, through}, InPlace::kAllowed);
  check_apart("layer_norm_backward: dx", dx, {x, w, mean, rstd, dw});
  check_apart("layer_norm_backward: dw", dw, {dy, x, w, mean, rstd, through});
  const Tensor before = write == Write::kAdd ? dw : Tensor();
  call(
      __func__,
      [&] {
        return moved({dy, x, w, mean, rstd, through, before}, {dx, dw});
      },
      [&] { backend_->layer_norm_backward(dy, x, w, mean, rstd, through, dx, dw, write); });
}

void Backend::layer_norm_forward(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y, const Tensor& mean,
                                 const Tensor& rstd) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    operations::layer_norm_forward<S>(operations::layer_norm_sizes(x, w), HostInput<S>(x), HostInput<S>(w), epsilon,
                                      HostOutput<S>(y), HostOutput<S>(mean), HostOutput<S>(rstd));
  });
}

void Backend::layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                                  const Tensor& rstd, const Tensor& through, const Tensor& dx, const Tensor& dw,
                                  Write write) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    operations::layer_norm_backward<S>(operations::layer_norm_sizes(x, w), HostInput<S>(dy), HostInput<S>(x),
                                       HostInput<S>(w), HostInput<S>(mean), HostInput<S>(rstd), HostInput<S>(through),
                                       HostOutput<S>(dx), HostOutput<S>(dw), write);
  });
}

}  // namespace ropewalk

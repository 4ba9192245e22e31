#include "kernels/operations/swiglu.h"

#include "kernels/operations/call.h"
#include "kernels/operations/host_operand.h"
#include "kernels/operations/operand.h"
#include "kernels/operations/plain.h"

namespace ropewalk {

using operations::HostInput, operations::HostOutput;

namespace {

void check_swiglu(const Kernels& kernels, const Tensor& gate, std::initializer_list<Tensor> others) {
  check_rank("swiglu: gate", gate, 2);
  check_operand(kernels, "swiglu: gate", gate, kernels.dtype(), gate.shape());
  for (const Tensor& other : others) check_operand(kernels, "swiglu", other, kernels.dtype(), gate.shape());
}

}  // namespace

void Kernels::swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h) {
  check_swiglu(*this, gate, {up, h});
  check_apart("swiglu_forward: h", h, {gate, up});
  call(
      __func__,
      [&] {
        return moved({gate, up}, {h});
      },
      [&] { backend_->swiglu_forward(gate, up, h); });
}

void Kernels::swiglu_backward(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                              const Tensor& dup) {
  check_swiglu(*this, gate, {dh, up, dgate, dup});
  check_apart("swiglu_backward: dgate", dgate, {gate}, InPlace::kAllowed);
  check_apart("swiglu_backward: dgate", dgate, {dh, up, dup});
  check_apart("swiglu_backward: dup", dup, {up}, InPlace::kAllowed);
  check_apart("swiglu_backward: dup", dup, {dh, gate});
  call(
      __func__,
      [&] {
        return moved({dh, gate, up}, {dgate, dup});
      },
      [&] { backend_->swiglu_backward(dh, gate, up, dgate, dup); });
}

void Backend::swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& h) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    operations::swiglu_forward<S>(h.elements(), HostInput<S>(gate), HostInput<S>(up), HostOutput<S>(h));
  });
}

void Backend::swiglu_backward(const Tensor& dh, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                              const Tensor& dup) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    operations::swiglu_backward<S>(gate.elements(), HostInput<S>(dh), HostInput<S>(gate), HostInput<S>(up),
                                   HostOutput<S>(dgate), HostOutput<S>(dup));
  });
}

}  // namespace ropewalk

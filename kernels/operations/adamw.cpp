#include "kernels/operations/adamw.h"

#include "kernels/operations/call.h"
#include "kernels/operations/host_operand.h"
#include "kernels/operations/operand.h"
#include "kernels/operations/plain.h"

namespace ropewalk {

using operations::HostInput, operations::HostOutput;

void Kernels::adamw(const Tensor& w, const Tensor& g, const Tensor& m, const Tensor& v, const Tensor& narrow,
                    const AdamWStep& step) {
  const DType accumulator = accumulator_of(dtype());
  check_operand(*this, "adamw: w", w, accumulator, w.shape());
  check_operand(*this, "adamw: g", g, accumulator, w.shape());
  check_operand(*this, "adamw: m", m, accumulator, w.shape());
  check_operand(*this, "adamw: v", v, accumulator, w.shape());
  check_apart("adamw: g", g, {w, m, v});
  CHECK(narrow.empty() == (dtype() == accumulator), "adamw: narrow {}", narrow.shape().text());
  if (!narrow.empty()) {
    check_operand(*this, "adamw: narrow", narrow, dtype(), w.shape());
    check_apart("adamw: narrow", narrow, {w, g, m, v});
  }
  CHECK(step.step >= 1, "adamw at step {}", step.step);
  call(
      __func__,
      [&] {
        return moved({w, g, m, v}, {w, m, v, narrow});
      },
      [&] { backend_->adamw(w, g, m, v, narrow, step); });
}

void Backend::adamw(const Tensor& w, const Tensor& g, const Tensor& m, const Tensor& v, const Tensor& narrow,
                    const AdamWStep& step) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    operations::adamw<S>(w.elements(), HostOutput<S>(w), HostInput<S>(g), HostOutput<S>(m), HostOutput<S>(v), step);
  });
  if (!narrow.empty()) cast(w, narrow);
}

}  // namespace ropewalk

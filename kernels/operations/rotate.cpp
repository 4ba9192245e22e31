#include "kernels/operations/rotate.h"

#include "kernels/operations/call.h"
#include "kernels/operations/host_operand.h"
#include "kernels/operations/operand.h"
#include "kernels/operations/plain.h"

namespace ropewalk {

using operations::HostInput, operations::HostOutput;

void Kernels::rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction) {
  check_rank("rotate: x", x, 3);
  const auto [T, H, K] = operations::rotate_sizes(x);
  CHECK(K % 2 == 0, "rotate with a head size of {}", K);
  CHECK(first_position >= 0 && theta > 0, "rotate from position {} with theta {}", first_position, theta);
  const DType accumulator = accumulator_of(dtype());
  check_operand(*this, "rotate: x", x, x.dtype() == accumulator ? accumulator : dtype(), {T, H, K});
  call(
      __func__, [&] { return moved({x}, {x}); }, [&] { backend_->rotate(x, first_position, theta, direction); });
}

void Backend::rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    operations::rotate<S>(operations::rotate_sizes(x), HostOutput<S>(x), first_position, theta, direction);
  });
}

}  // namespace ropewalk

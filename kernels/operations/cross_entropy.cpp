#include "kernels/operations/cross_entropy.h"

#include "kernels/operations/call.h"
#include "kernels/operations/host_operand.h"
#include "kernels/operations/operand.h"
#include "kernels/operations/plain.h"

namespace ropewalk {

using operations::HostInput, operations::HostOutput;

namespace {

void check_cross_entropy(const Kernels& kernels, const Tensor& logits, const Tensor& targets) {
  check_rank("cross_entropy: logits", logits, 2);
  const auto [N, V] = operations::cross_entropy_sizes(logits);
  check_operand(kernels, "cross_entropy: logits", logits, kernels.dtype(), {N, V});
  check_operand(kernels, "cross_entropy: targets", targets, DType::kI32, {N});
}

}  // namespace

void Kernels::cross_entropy_partials(const Tensor& logits, const Tensor& targets, int64_t v_begin, double logit_scale,
                                     const Tensor& partials) {
  check_cross_entropy(*this, logits, targets);
  check_operand(*this, "cross_entropy: partials", partials, accumulator_of(dtype()), {logits.rows(), 3});
  check_apart("cross_entropy: partials", partials, {logits, targets});
  call(
      __func__,
      [&] {
        return moved({logits, targets}, {partials});
      },
      [&] { backend_->cross_entropy_partials(logits, targets, v_begin, logit_scale, partials); });
}

void Kernels::cross_entropy_merge(const Tensor& partials, const Tensor& targets, const Tensor& log_sum,
                                  const Tensor& losses) {
  check_rank("cross_entropy: partials", partials, 3);
  const auto [R, N] = operations::cross_entropy_merge_sizes(partials);
  const DType accumulator = accumulator_of(dtype());
  check_operand(*this, "cross_entropy: partials", partials, accumulator, {R, N, 3});
  check_operand(*this, "cross_entropy: targets", targets, DType::kI32, {N});
  check_operand(*this, "cross_entropy: log_sum", log_sum, accumulator, {N});
  check_operand(*this, "cross_entropy: losses", losses, accumulator, {N});
  call(
      __func__,
      [&] {
        return moved({partials, targets}, {log_sum, losses});
      },
      [&] { backend_->cross_entropy_merge(partials, targets, log_sum, losses); });
}

void Kernels::cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                                     int64_t v_begin, double logit_scale, double loss_scale) {
  check_cross_entropy(*this, logits, targets);
  check_operand(*this, "cross_entropy: log_sum", log_sum, accumulator_of(dtype()), {logits.rows()});
  check_apart("cross_entropy: logits", logits, {targets, log_sum});
  call(
      __func__,
      [&] {
        return moved({logits, targets, log_sum}, {logits});
      },
      [&] { backend_->cross_entropy_backward(logits, targets, log_sum, v_begin, logit_scale, loss_scale); });
}

void Backend::cross_entropy_partials(const Tensor& logits, const Tensor& targets, int64_t v_begin, double logit_scale,
                                     const Tensor& partials) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    operations::cross_entropy_partials<S>(operations::cross_entropy_sizes(logits), HostInput<S>(logits),
                                          targets.data<int32_t>(), v_begin, logit_scale, HostOutput<S>(partials));
  });
}

void Backend::cross_entropy_merge(const Tensor& partials, const Tensor& targets, const Tensor& log_sum,
                                  const Tensor& losses) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    operations::cross_entropy_merge<S>(operations::cross_entropy_merge_sizes(partials), HostInput<S>(partials),
                                       targets.data<int32_t>(), HostOutput<S>(log_sum), HostOutput<S>(losses));
  });
}

void Backend::cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                                     int64_t v_begin, double logit_scale, double loss_scale) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    operations::cross_entropy_backward<S>(operations::cross_entropy_sizes(logits), HostOutput<S>(logits),
                                          targets.data<int32_t>(), HostInput<S>(log_sum), v_begin, logit_scale,
                                          loss_scale);
  });
}

}  // namespace ropewalk

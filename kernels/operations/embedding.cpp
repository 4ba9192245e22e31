#include "kernels/operations/embedding.h"

#include "kernels/operations/call.h"
#include "kernels/operations/host_operand.h"
#include "kernels/operations/operand.h"
#include "kernels/operations/plain.h"

namespace ropewalk {

using operations::HostInput, operations::HostOutput;

namespace {

void check_embedding(const Kernels& kernels, const Tensor& tokens, const Tensor& table, DType table_type,
                     const Tensor& x) {
  check_rank("embedding: tokens", tokens, 1);
  check_rank("embedding: table", table, 2);
  const auto [N, V, D] = operations::embedding_sizes(tokens, table);
  check_operand(kernels, "embedding: tokens", tokens, DType::kI32, {N});
  check_operand(kernels, "embedding: table", table, table_type, {V, D});
  check_operand(kernels, "embedding: x", x, kernels.dtype(), {N, D});
}

}  // namespace

void Kernels::embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x) {
  check_apart("embedding_forward: x", x, {tokens, table});
  check_embedding(*this, tokens, table, dtype(), x);
  // As many rows of the table are read as x has: a plan does not know which tokens are another rank's.
  call(
      __func__,
      [&] {
        return moved({tokens, x}, {x});
      },
      [&] { backend_->embedding_forward(tokens, table, v_begin, x); });
}

void Kernels::embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) {
  check_apart("embedding_backward: dtable", dtable, {tokens, dx});
  check_embedding(*this, tokens, dtable, accumulator_of(dtype()), dx);
  // A row of dtable is read and written for each row of dx.
  const Tensor rows(nullptr, dtable.dtype(), dtable.device(), dx.shape());
  call(
      __func__,
      [&] {
        return moved({tokens, dx, rows}, {rows});
      },
      [&] { backend_->embedding_backward(tokens, dx, v_begin, dtable); });
}

void Backend::embedding_forward(const Tensor& tokens, const Tensor& table, int64_t v_begin, const Tensor& x) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    operations::embedding_forward<S>(operations::embedding_sizes(tokens, table), tokens.data<int32_t>(),
                                     HostInput<S>(table), v_begin, HostOutput<S>(x));
  });
}

void Backend::embedding_backward(const Tensor& tokens, const Tensor& dx, int64_t v_begin, const Tensor& dtable) {
  operations::plain(*this, __func__, [&](auto number) {
    using S = decltype(number);
    operations::embedding_backward<S>(operations::embedding_sizes(tokens, dtable), tokens.data<int32_t>(),
                                      HostInput<S>(dx), v_begin, HostOutput<S>(dtable));
  });
}

}  // namespace ropewalk

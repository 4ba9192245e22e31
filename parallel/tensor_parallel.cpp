#include "parallel/tensor_parallel.h"

namespace ropewalk {

int64_t TensorRegion::outside_rows(int64_t rows) const { return tokens(rows).size(token_split() ? group_.rank() : 0); }

Tensor TensorRegion::enter(const Tensor& x, int64_t rows, Arena& arena) const {
  CHECK(x.shape().rank() == 2 && x.rows() == outside_rows(rows), "activations {} where this rank holds {} of {} rows",
        x.shape().text(), outside_rows(rows), rows);
  if (!token_split()) return x;
  const Tensor all = arena.allocate(x.dtype(), {rows, x.extent(1)});
  group_.all_gather(x, tokens(rows), all);
  return all;
}

Tensor TensorRegion::leave(const Tensor& partial, Arena& arena) const {
  CHECK(partial.shape().rank() == 2, "partial sums {}", partial.shape().text());
  if (!token_split()) {
    if (group_.size() > 1) group_.all_reduce(partial, Reduction::kSum);
    return partial;
  }
  const Tensor mine = arena.allocate(partial.dtype(), {outside_rows(partial.rows()), partial.extent(1)});
  group_.reduce_scatter(partial, tokens(partial.rows()), mine);
  return mine;
}

// The adjoint of leaving is entering, and the other way round.
Tensor TensorRegion::enter_backward(const Tensor& dx, Arena& arena) const { return leave(dx, arena); }
Tensor TensorRegion::leave_backward(const Tensor& dy, int64_t rows, Arena& arena) const {
  return enter(dy, rows, arena);
}

}  // namespace ropewalk

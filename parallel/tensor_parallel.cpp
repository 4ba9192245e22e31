#include "parallel/tensor_parallel.h"

namespace ropewalk {

int64_t TensorRegion::outside_rows(int64_t rows) const { return tokens(rows).size(token_split() ? group_.rank() : 0); }

Tensor TensorRegion::outside(const Tensor& all) const {
  const Partition cut = tokens(all.rows());
  const int part = token_split() ? group_.rank() : 0;
  return all.slice(cut.begin(part), cut.end(part));
}

void TensorRegion::enter(const Tensor& x) const {
  if (token_split()) group_.all_gather(outside(x), tokens(x.rows()), x);
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

// The backward of entering communicates as leaving does, and the other way round.
Tensor TensorRegion::enter_backward(const Tensor& dx, Arena& arena) const { return leave(dx, arena); }
Tensor TensorRegion::leave_backward(const Tensor& dy, int64_t rows, Arena& arena) const {
  CHECK(dy.shape().rank() == 2 && dy.rows() == outside_rows(rows), "gradients {} where this rank holds {} of {} rows",
        dy.shape().text(), outside_rows(rows), rows);
  if (!token_split()) return dy;
  const Tensor all = arena.allocate(dy.dtype(), {rows, dy.extent(1)});
  group_.all_gather(dy, tokens(rows), all);
  return all;
}

}  // namespace ropewalk

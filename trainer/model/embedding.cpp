#include "trainer/model/embedding.h"

namespace ropewalk {

Tensor Embedding::forward(const ParameterValues& weights, const Tensor& tokens) const {
  const int index = table_.embedding();
  const Tensor table = weights[index];
  const Tensor partial = rank_.arena.allocate(rank_.kernels.dtype(), {tokens.rows(), table.extent(1)});
  rank_.kernels.embedding_forward(tokens, table, table_[index].box.row_begin, partial);
  return region_.leave(partial, rank_.arena);
}

void Embedding::backward(const Tensor& tokens, const Tensor& dx, const ParameterValues& gradients) const {
  const int index = table_.embedding();
  ArenaScope scratch(rank_.arena);
  const Tensor d = region_.leave_backward(dx, tokens.rows(), rank_.arena);
  rank_.kernels.embedding_backward(tokens, d, table_[index].box.row_begin, gradients[index]);
}

}  // namespace ropewalk

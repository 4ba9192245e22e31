// The collectives with which activations enter and leave the tensor-parallel region of a block, as adjoint pairs.
// Between blocks each rank holds all tokens, or, with token_split (sequence_parallel in the configuration), only its
// part of the tokens:
//
//                     without token_split                 with token_split
//     enter           identity                            all-gather of token rows
//     enter_backward  all-reduce (sum)                    reduce-scatter (sum) of token rows
//     leave           all-reduce (sum)                    reduce-scatter (sum) of token rows
//     leave_backward  identity                            all-gather of token rows
//
// Left column: f (enter) and g (leave) of Shoeybi et al., arXiv 1909.08053. Right column: g (enter) and g-bar (leave)
// of Korthikanti et al., arXiv 2205.05198.
#pragma once

#include "kernels/arena.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

class TensorRegion {
 public:
  TensorRegion(Communicator& group, bool token_split) : group_(group), token_split_(token_split) {}

  int size() const { return group_.size(); }
  bool token_split() const { return token_split_ && group_.size() > 1; }
  // How `rows` token rows are cut over the group; one part if tokens are not split.
  Partition tokens(int64_t rows) const { return Partition::even(rows, token_split() ? group_.size() : 1); }
  // The number of token rows, of `rows`, that this rank holds outside: between blocks.
  int64_t outside_rows(int64_t rows) const;
  // The rows of `all` that this rank holds outside.
  Tensor outside(const Tensor& all) const;

  // Enters the region, in place: fills all rows of x [rows, D] from the ranks' outside(x) [outside rows, D].
  void enter(const Tensor& x) const;
  // Partial sums dx [rows, D] -> their sum over ranks [outside rows, D]; may change dx, and the result may be dx.
  Tensor enter_backward(const Tensor& dx, Arena& arena) const;
  // Leaves the region: partial sums [rows, D] -> their sum over ranks [outside rows, D]; may change `partial`, and the
  // result may be `partial`.
  Tensor leave(const Tensor& partial, Arena& arena) const;
  // dy [outside rows, D] -> [rows, D]; the result is dy itself or comes from the arena.
  Tensor leave_backward(const Tensor& dy, int64_t rows, Arena& arena) const;

 private:
  Communicator& group_;
  bool token_split_;
};

}  // namespace ropewalk

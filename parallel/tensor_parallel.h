// The tensor group's collectives as adjoint pairs around the split part of a block. With token_split (sequence_parallel
// in the configuration) the activations between blocks hold only this rank's share of the tokens:
//
//                     whole tokens between blocks         tokens split between blocks
//     enter           identity                            all-gather of token rows
//     enter_backward  all-reduce (sum)                    reduce-scatter (sum) of token rows
//     leave           all-reduce (sum)                    reduce-scatter (sum) of token rows
//     leave_backward  identity                            all-gather of token rows
//
// (Shoeybi et al., arXiv 1909.08053, its f and g; Korthikanti et al., arXiv 2205.05198, its g and g-bar.)
#pragma once

#include "kernels/arena.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

class TensorRegion {
 public:
  TensorRegion(Communicator& group, bool token_split) : group_(group), token_split_(token_split) {}

  int size() const { return group_.size(); }
  bool token_split() const { return token_split_ && group_.size() > 1; }
  // The cut of N token rows over the group, and the rows this rank holds between blocks.
  Partition tokens(int64_t rows) const { return Partition::even(rows, token_split() ? group_.size() : 1); }
  int64_t outside_rows(int64_t rows) const;
  // This rank's rows of a tensor that has all of them.
  Tensor outside(const Tensor& all) const;

  // Into the split part, in place: fills all rows of x [rows, D] from outside(x) [outside rows, D].
  void enter(const Tensor& x) const;
  // Partial sums [rows, D] -> [outside rows, D]; may change dx, and the result may be dx.
  Tensor enter_backward(const Tensor& dx, Arena& arena) const;
  // Out of it: partial sums [rows, D] -> [outside rows, D]; may change `partial`, and the result may be `partial`.
  Tensor leave(const Tensor& partial, Arena& arena) const;
  // [outside rows, D] -> [rows, D]; the result is dy itself or comes from the arena.
  Tensor leave_backward(const Tensor& dy, int64_t rows, Arena& arena) const;

 private:
  Communicator& group_;
  bool token_split_;
};

}  // namespace ropewalk

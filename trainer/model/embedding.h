// Tokens to activations: x = table[token]. The vocabulary is split over the tensor group: each rank looks up the
// tokens in its own rows, and the sum over the group is the embedding.
#pragma once

#include "parallel/tensor_parallel.h"
#include "trainer/model/parameters.h"

namespace ropewalk {

class Embedding {
 public:
  Embedding(const ParameterTable& table, Rank rank, TensorRegion region)
      : table_(table), rank_(rank), region_(region) {}

  // tokens [N] i32.
  Tensor forward(const ParameterValues& weights, const Tensor& tokens) const;  // -> x [N', D], from the arena
  void backward(const Tensor& tokens, const Tensor& dx, const ParameterValues& gradients) const;  // dx [N', D]

 private:
  const ParameterTable& table_;
  Rank rank_;
  TensorRegion region_;
};

}  // namespace ropewalk

// One Cohere2 block, forward and backward:
//
//     n = LN(x)     y = x + W_o attention(n) + W_down (silu(W_gate n) * W_up n)
//
// Attention and MLP read the same norm and are summed before they leave the tensor group, so a block costs one gather
// and one reduction per pass. Rows: N = B * T inside the tensor region, N' = this rank's share of them between blocks.
#pragma once

#include <memory>

#include "parallel/attention.h"
#include "parallel/tensor_parallel.h"
#include "trainer/parameters.h"

namespace ropewalk {

// What a block's forward keeps for its backward; tensors of the step's arena. h = heads here, g = key heads here.
struct BlockActivations {
  Tensor x;                               // [N', D] input
  Tensor mean, rstd;                      // [N']
  Tensor n;                               // [N, D] the norm's output
  Tensor q_raw, k_raw;                    // [N, h, K], [N, g, K] before QK-Norm; absent without it
  Tensor q_mean, q_rstd, k_mean, k_rstd;  // [N * h], [N * g]; likewise
  Tensor q, kv;                           // [N, h, K], [2, N, g, K] as attention reads them
  Tensor o, lse;                          // [N, h, K], [N, h] attention's output, accumulator type
  Tensor gate, up;                        // [N, F here]
};

class Block {
 public:
  Block(const ModelConfig& model, const LayerKind& kind, const BlockParameters& parameters, Rank rank,
        TensorRegion region);

  // x [N', D] -> y [N', D], from the arena.
  Tensor forward(const ParameterValues& weights, const Sequences& sequences, const Tensor& x,
                 BlockActivations& saved) const;
  // dy [N', D] -> dx [N', D], from the arena; adds to the gradients of the block's parameters.
  Tensor backward(const ParameterValues& weights, const Sequences& sequences, const BlockActivations& saved,
                  const Tensor& dy, const ParameterValues& gradients) const;

 private:
  void attention_inputs(const ParameterValues& weights, const Sequences& sequences, BlockActivations& saved) const;
  // Adds to dn [N, D] and to the gradients of q, k, v and their norms.
  void attention_inputs_backward(const ParameterValues& weights, const Sequences& sequences,
                                 const BlockActivations& saved, const Tensor& dq, const Tensor& dkv, const Tensor& dn,
                                 const ParameterValues& gradients) const;
  void rotate(const Tensor& heads, const Sequences& sequences, Rotation direction) const;
  Tensor in_compute_type(const Tensor& x) const;

  const ModelConfig& model_;
  LayerKind kind_;
  BlockParameters at_;
  Rank rank_;
  TensorRegion region_;
  std::unique_ptr<DistributedAttention> attention_;
};

}  // namespace ropewalk

// One Cohere2 block, forward and backward:
//
//     n = LN(x)     y = x + W_o attention(n) + W_down (silu(W_gate n) * W_up n)
//
// Attention and MLP read the same norm, and their partial sums are added before the reduction over the tensor group. So
// a block needs one enter and one leave per pass (parallel/tensor_parallel.h). Rows between enter and leave: N = B * T
// (B sequences, T positions of each on this context rank). Rows of x and y on this tensor rank: N', less than N only
// with sequence_parallel.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "parallel/attention/attention.h"
#include "parallel/attention/local_rows.h"
#include "parallel/tensor_parallel.h"
#include "trainer/model/key_value_cache.h"
#include "trainer/model/parameters.h"

namespace ropewalk {

// What a block's forward computes and its backward needs; tensors of the step's arena. On this tensor rank there are
// h query heads, g KV heads and F hidden units of the MLP. D = width, K = head size.
struct BlockActivations {
  Tensor x;                               // [N', D] input
  Tensor mean, rstd;                      // [N']
  Tensor n;                               // [N, D] the norm's output
  Tensor q_raw, k_raw;                    // [N, h, K], [N, g, K] before QK-Norm; empty without it
  Tensor q_mean, q_rstd, k_mean, k_rstd;  // [N * h], [N * g]; likewise
  Tensor q, kv;                           // [N, h, K], [2, N, g, K] as attention reads them: after QK-Norm and RoPE
  Tensor o, lse;                          // [N, h, K], [N, h] attention's output and its log-sum-exp
  Tensor gate, up;                        // [N, F]
};

class Block {
 public:
  Block(const ModelConfig& model, const LayerKind& kind, const BlockParameters& parameters, Rank rank,
        TensorRegion region);

  // Sets the RoPE base of a layer with RoPE; nullopt: the base that the configuration gives the layer.
  void set_theta(std::optional<double> theta) { theta_ = theta.value_or(kind_.theta); }

  bool is_full() const { return kind_.mask == LayerKind::Mask::kFull; }

  // Allocates saved.o and saved.lse for N = `rows`. Call it before forward() to let them outlive the other activations.
  void allocate_attention(const ParameterValues& weights, int64_t rows, BlockActivations& saved) const;
  // x -> y, both [N', D]; fills `saved`, from the arena.
  void forward(const ParameterValues& weights, const Sequences& sequences, const Tensor& x, const Tensor& y,
               BlockActivations& saved) const;
  // The same for one new token of each of N slots of the cache, in which this is layer `layer`: its attention reads the
  // keys and values of earlier tokens there.
  void decode(const ParameterValues& weights, size_t layer, std::span<const NewToken> tokens, KeyValueCache& cache,
              const Tensor& x, const Tensor& y) const;
  // Activation checkpointing: recomputes `saved` from saved.x. If saved.o and saved.lse were kept, attention is not
  // recomputed.
  void recompute(const ParameterValues& weights, const Sequences& sequences, BlockActivations& saved) const;
  // dy -> dx in place, [N', D]; writes the gradients of the block's parameters. Overwrites gate and up of `saved` with
  // their gradients.
  void backward(const ParameterValues& weights, const Sequences& sequences, const BlockActivations& saved,
                const Tensor& dx, const ParameterValues& gradients, Write write) const;

 private:
  // Rows of consecutive positions, for RoPE: together the N rows of a pass.
  using Runs = std::vector<LocalRows>;
  Runs runs_of(const Sequences& sequences) const;

  // Computes the norm, q, k, v, gate and up: all that a backward needs except attention's output, for which saved.o has
  // been allocated.
  void project_inputs(const ParameterValues& weights, const Runs& runs, BlockActivations& saved) const;
  // saved.o, gate and up, saved.x -> y [N', D].
  void project_outputs(const ParameterValues& weights, const BlockActivations& saved, const Tensor& y) const;
  void attend(const Sequences& sequences, BlockActivations& saved) const;
  void attention_inputs(const ParameterValues& weights, const Runs& runs, BlockActivations& saved) const;
  // Adds to dn [N, D] and writes the gradients of q, k, v and their norms.
  void attention_inputs_backward(const ParameterValues& weights, const Sequences& sequences,
                                 const BlockActivations& saved, const Tensor& dq, const Tensor& dkv, const Tensor& dn,
                                 const ParameterValues& gradients, Write write) const;
  void rotate(const Tensor& heads, const Runs& runs, Rotation direction) const;
  Tensor in_compute_type(const Tensor& x) const;

  const ModelConfig& model_;
  LayerKind kind_;
  double theta_ = kind_.theta;
  BlockParameters at_;
  Rank rank_;
  TensorRegion region_;
  std::unique_ptr<DistributedAttention> attention_;
};

}  // namespace ropewalk

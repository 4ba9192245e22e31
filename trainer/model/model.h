// The model: embedding, blocks, loss head. Each forward has a backward written by hand; there is no autograd.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "trainer/model/block.h"
#include "trainer/model/embedding.h"
#include "trainer/model/key_value_cache.h"
#include "trainer/model/loss_head.h"
#include "trainer/model/parameter_sync.h"

namespace ropewalk {

// What a micro-batch's forward saves for its backward. With activation checkpointing it saves only the input x of each
// block (kBlockButAttention: also o and lse of layers of full attention).
struct Activations {
  std::vector<BlockActivations> blocks;
  LossActivations loss;
};

// Receives the keys and values [2, N, g, K] that a layer has just computed, as attention reads them. Their memory is
// reused afterwards.
using KeyValueSink = std::function<void(size_t layer, const Tensor& kv)>;

class Model {
 public:
  // config, table and the objects that `rank` refers to must outlive this.
  Model(const ModelConfig& config, const ParameterTable& table, Rank rank, TensorRegion region, int64_t loss_chunk,
        TrainingConfig::Recompute recompute);

  // Sets the RoPE base of all layers with RoPE; nullopt: the base that the configuration gives each layer.
  void set_theta(std::optional<double> theta);

  // sync, in all passes below: its hooks are called for each unit of parameters. Null: no communication; the weights
  // must be complete, and the gradients stay local.

  // Tokens -> the last block's output [N', D].
  Tensor forward(const ParameterValues& weights, const Sequences& sequences, Activations& saved,
                 ParameterSync* sync) const;
  // The same without a backward: saves no activations, so each block reuses the memory of the one before. sink: called
  // for each layer; may be empty.
  Tensor infer(const ParameterValues& weights, const Sequences& sequences, ParameterSync* sync,
               const KeyValueSink& sink = {}) const;
  // The same for one new token of each of B slots of the cache, which takes their keys and values: -> [N', D], where
  // N = B; each context rank computes all rows. Also collective over mesh.sequence().
  Tensor decode(const ParameterValues& weights, std::span<const NewToken> tokens, KeyValueCache& cache,
                ParameterSync* sync) const;
  // From the loss head's `saved.loss` back to the tokens. Writes all gradients; that of the tied embedding is added to
  // what LossHead::forward() has written.
  void backward(const ParameterValues& weights, const Sequences& sequences, Activations& saved,
                const ParameterValues& gradients, Write write, ParameterSync* sync) const;

  const LossHead& head() const { return head_; }

 private:
  // Calls pass(layer, x, y), which computes a block's y from its x, for each layer in order.
  template <typename Pass>
  Tensor through_blocks(Tensor x, ParameterSync* sync, const Pass& pass) const;

  using Recompute = TrainingConfig::Recompute;

  Rank rank_;
  Recompute recompute_;
  Embedding embedding_;
  std::vector<std::unique_ptr<Block>> blocks_;
  LossHead head_;
};

}  // namespace ropewalk

// The whole model: embedding, blocks, loss head; each forward beside its backward, no tape.
#pragma once

#include <memory>
#include <vector>

#include "trainer/model/block.h"
#include "trainer/model/embedding.h"
#include "trainer/model/loss_head.h"
#include "trainer/model/parameter_sync.h"

namespace ropewalk {

// What a micro-batch's forward keeps for its backward; with recomputation, of a block only the beginning.
struct Activations {
  std::vector<BlockActivations> blocks;
  LossActivations loss;
};

class Model {
 public:
  // config, table and what rank refers to must outlive this.
  Model(const ModelConfig& config, const ParameterTable& table, Rank rank, TensorRegion region, int64_t loss_chunk,
        TrainingConfig::Recompute recompute);

  // The base of the angles of all rotary layers from now on; absent: each has its kind's.
  void set_theta(std::optional<double> theta);

  // In all passes: sync is told about each unit of parameters; null: weights are in place and gradients stay here.

  // Tokens -> the last block's output [N', D].
  Tensor forward(const ParameterValues& weights, const Sequences& sequences, Activations& saved,
                 ParameterSync* sync) const;
  // The same without a backward: keeps no activations, so the memory of one block serves the next.
  Tensor infer(const ParameterValues& weights, const Sequences& sequences, ParameterSync* sync) const;
  // From the loss head's `saved.loss` back to the tokens; writes all gradients, the embedding's after the loss head.
  void backward(const ParameterValues& weights, const Sequences& sequences, Activations& saved,
                const ParameterValues& gradients, Write write, ParameterSync* sync) const;

  const LossHead& head() const { return head_; }

 private:
  using Recompute = TrainingConfig::Recompute;

  Rank rank_;
  Recompute recompute_;
  Embedding embedding_;
  std::vector<std::unique_ptr<Block>> blocks_;
  LossHead head_;
};

}  // namespace ropewalk

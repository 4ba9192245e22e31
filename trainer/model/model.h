// The whole model: embedding, blocks, loss head; each forward beside its backward, no tape.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "trainer/model/block.h"
#include "trainer/model/embedding.h"
#include "trainer/model/loss_head.h"

namespace ropewalk {

// Called about a unit of parameters (ParameterTable): the embedding, a block.
using UnitHook = std::function<void(size_t unit)>;

// What a micro-batch's forward keeps for its backward; with recomputation, of a block only the beginning.
struct Activations {
  std::vector<BlockActivations> blocks;
  LossActivations loss;
};

class Model {
 public:
  // config, table and what rank refers to must outlive this.
  // before_use: called before a forward reads a unit's weights.
  Model(const ModelConfig& config, const ParameterTable& table, Rank rank, TensorRegion region, int64_t loss_chunk,
        TrainingConfig::Recompute recompute, UnitHook before_use);

  // The base of the angles of all rotary layers from now on; absent: each has its kind's.
  void set_theta(std::optional<double> theta);

  // Tokens -> the last block's output [N', D].
  Tensor forward(const ParameterValues& weights, const Sequences& sequences, Activations& saved) const;
  // The same where no backward follows: the memory of a block serves the next.
  Tensor infer(const ParameterValues& weights, const Sequences& sequences) const;
  // From the loss head's `saved.loss` back to the tokens; adds to all gradients. after_gradients: called when those of
  // a unit are done, from the last one to the first.
  void backward(const ParameterValues& weights, const Sequences& sequences, Activations& saved,
                const ParameterValues& gradients, const UnitHook& after_gradients) const;

  const LossHead& head() const { return head_; }

 private:
  using Recompute = TrainingConfig::Recompute;

  Rank rank_;
  Recompute recompute_;
  Embedding embedding_;
  std::vector<std::unique_ptr<Block>> blocks_;
  LossHead head_;
  UnitHook before_use_;
};

}  // namespace ropewalk

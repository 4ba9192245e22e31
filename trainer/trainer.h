// A model in training on one rank of a mesh: weights, gradients, the sharded optimizer, and THE STEP (Trainer::step).
#pragma once

#include <memory>
#include <optional>

#include "parallel/rank.h"
#include "trainer/checkpoint/state.h"
#include "trainer/config/config.h"
#include "trainer/data/batch.h"
#include "trainer/evaluation/loss_by_position.h"

namespace ropewalk {

struct StepResult {
  std::optional<double> loss;  // mean over the step's targets, over all ranks, in nats; absent: it had none
  double gradient_norm = 0;    // global, before clipping; 0 without targets
  double learning_rate = 0;
};

// What a rank holds, in bytes.
struct MemoryUse {
  int64_t weights = 0, gradients = 0;
  int64_t optimizer = 0;    // this rank's shard: moments, and master weights where they are not the weights
  int64_t activations = 0;  // kept from the forward for the backward, in the largest micro-batch so far
  int64_t working = 0;      // the rest of the arena at its fullest: what an operation or a block needs while it runs
  int64_t total() const { return weights + gradients + optimizer + activations + working; }
  int64_t arena() const { return activations + working; }
};

class Trainer {
 public:
  // The weights are those of no model before initialize() or state_loaded(). config, rank and what rank refers to must
  // outlive this.
  Trainer(const Config& config, Rank rank);
  ~Trainer();

  void initialize();  // draws the weights from training.seed: the same ones on every mesh

  // All that follows is of this stage: its length of sequences, its micro-batches, its theta. Until the first call it
  // is the first stage that fits the mesh.
  void begin_stage(const Stage& stage);

  // One optimizer step on this data rank's batch; `step` counts the steps done before, and is of the stage that has
  // begun. Throws NumericalError naming step + 1, rank and tensor when the loss or the gradient is not finite; weights
  // are then still those before the step.
  StepResult step(const Batch& batch, int64_t step);

  // The parts of step(), for tests and tools: zeroes the gradients, goes forward and backward over the batch, sums the
  // gradients over the mesh; returns the mean loss, absent where the batch has no target. gradients() then holds this
  // rank's shard of the sum.
  std::optional<double> compute_gradients(const Batch& batch);
  std::vector<StateTensor> gradients() const;

  // Losses of the whole batch, over all ranks, by equal ranges of positions.
  LossByPosition evaluate(const Batch& batch, int64_t position_ranges);

  // Logits of the token after `tokens` (at least one), scaled, over the whole vocabulary; the same on all ranks.
  // Collective.
  std::vector<double> next_token_logits(const std::vector<int32_t>& tokens);

  // What a checkpoint holds of this rank: master weights and moments. After loading into it, call state_loaded().
  std::vector<StateTensor> state() const;
  void state_loaded();  // brings the weights up to date with the master weights; collective
  MemoryUse memory() const;
  // Throws NumericalError naming rank and weight when one is not finite after `steps` steps; collective.
  void check_weights(int64_t steps) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace ropewalk

// A model in training on one rank of a mesh: its replica of the weights, gradients, the sharded optimizer, and THE STEP
// (trainer.cpp: Trainer::forward_backward, compute_gradients, step).
#pragma once

#include <optional>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/data/batch.h"
#include "trainer/inference/predictor.h"
#include "trainer/model/replica.h"
#include "trainer/optimizer.h"

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
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  void initialize();  // draws the weights from training.seed, the same ones on every mesh; collective

  // All that follows is of this stage: its length of sequences, its micro-batches, its theta. Until the first call it
  // is the first stage that fits the mesh.
  void begin_stage(const Stage& stage);

  // One optimizer step on this data rank's batch; `step` counts the steps done before, and is of the stage that has
  // begun. Throws NumericalError naming step + 1, rank and tensor when the loss or the gradient is not finite; weights
  // are then still those before the step.
  StepResult step(const Batch& batch, int64_t step);

  // The first half of step(), for tests and tools: returns the mean loss, absent where the batch has no target.
  // gradients() then holds this rank's shard of the summed gradient.
  std::optional<double> compute_gradients(const Batch& batch);
  std::vector<StateTensor> gradients() const { return optimizer_.gradients(); }

  // A view of the model, with the theta of the stage; valid while this lives.
  Predictor predictor() { return Predictor(replica_, &optimizer_); }

  // What a checkpoint holds of this rank: master weights and moments. After loading into it, call state_loaded().
  std::vector<StateTensor> state() const { return optimizer_.state(); }
  void state_loaded() { optimizer_.start_gather(); }  // brings the weights up to date; collective
  MemoryUse memory() const;
  // Throws NumericalError naming rank and weight when one is not finite after `steps` steps; collective.
  void check_weights(int64_t steps);

 private:
  double targets_of_all_ranks(const Batch& batch) const;
  // The sum of this rank's losses and gradients_, scaled. sync: is told as the last micro-batch's gradients complete.
  double forward_backward(const Batch& batch, double scale, ParameterSync* sync);
  void check_stage(int64_t step) const;
  [[noreturn]] void throw_not_finite(const Batch& batch, int64_t step, const StepResult& result);

  const Config& config_;
  Kernels::Polling polling_;  // what is under way, after every operation
  Rank rank_;
  ModelReplica replica_;
  ParameterValues gradients_;
  ShardedOptimizer optimizer_;
  Stage stage_;
  SequenceLayout layout_{0, 1};
  int64_t activation_bytes_ = 0;  // kept for a backward, at most so far
};

}  // namespace ropewalk

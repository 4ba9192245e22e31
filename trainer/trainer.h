// A model in training on one rank of a mesh: its replica of the weights, the gradients, the sharded optimizer, and the
// training step (trainer.cpp: Trainer::forward_backward, compute_gradients, step).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/data/batch.h"
#include "trainer/inference/predictor.h"
#include "trainer/model/replica.h"
#include "trainer/optimizer.h"

namespace ropewalk {

struct StepResult {
  std::optional<double> loss;  // mean over the step's targets, over all ranks, in nats; absent: no targets
  double gradient_norm = 0;    // global, before clipping; 0 without targets
  double learning_rate = 0;
};

// What a rank holds, in bytes.
struct MemoryUse {
  int64_t weights = 0, gradients = 0;
  int64_t optimizer = 0;    // this rank's shard: moments; with bf16 weights also fp32 master weights
  int64_t activations = 0;  // saved by a forward for its backward: the largest micro-batch so far
  int64_t working = 0;      // the rest of the arena at its fullest: what an operation or a block needs while it runs
  int64_t total() const { return weights + gradients + optimizer + activations + working; }
  int64_t arena() const { return activations + working; }
};

class Trainer {
 public:
  // The weights are uninitialized until initialize(), weights_loaded() or state_loaded(). config and the objects that
  // `rank` refers to must outlive this.
  Trainer(const Config& config, Rank rank);
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  void initialize();  // draws the weights from training.seed, the same on every mesh; collective

  // This rank's part of the master weights. After another model's weights have been loaded into it, weights_loaded()
  // sets the moments to 0. It throws NumericalError, naming rank and weight, if a weight is not finite; `source` is the
  // name of the weights in the message. Collective.
  std::vector<StateTensor> master_weights() const { return optimizer_.master_weights(); }
  void weights_loaded(const std::string& source);

  // Sets the sequence length, micro-batch and RoPE theta of all later calls. Before the first call, the stage is the
  // first one that fits the mesh.
  void begin_stage(const Stage& stage);

  // One optimizer step on this data rank's batch. step: number of steps already done; it must lie in the stage that
  // begin_stage() has set. Throws NumericalError naming step + 1, rank and tensor if the loss or the gradient is not
  // finite; the weights are then unchanged. Collective.
  StepResult step(const Batch& batch, int64_t step);

  // The first half of step(), for tests and tools: returns the mean loss, nullopt if the batches of all ranks have no
  // target. gradients() then holds this rank's shard of the summed gradient. Collective.
  std::optional<double> compute_gradients(const Batch& batch);
  std::vector<StateTensor> gradients() const { return optimizer_.gradients(); }

  // A view of the model with the stage's theta; valid while this object lives.
  Predictor predictor() { return Predictor(replica_, &optimizer_); }

  // This rank's part of a checkpoint: master weights and moments. After loading into it, call state_loaded().
  std::vector<StateTensor> state() const { return optimizer_.state(); }
  void state_loaded() { optimizer_.start_gather(); }  // all-gathers the weights from the master weights; collective
  MemoryUse memory() const;
  // Throws NumericalError naming rank and weight if a weight is not finite; steps: steps done, for the message.
  // Collective.
  void check_weights(int64_t steps);

 private:
  double targets_of_all_ranks(const Batch& batch) const;
  // Returns the sum of this rank's losses times `scale`, and fills gradients_ with the gradient of that. sync (may be
  // null): before_forward() is called in every micro-batch, after_backward() in the last one only.
  double forward_backward(const Batch& batch, double scale, ParameterSync* sync);
  void check_stage(int64_t step) const;
  [[noreturn]] void throw_not_finite(const Batch& batch, int64_t step, const StepResult& result);

  const Config& config_;
  Kernels::Polling polling_;  // advances outstanding transfers after every operation
  Rank rank_;
  ModelReplica replica_;
  ParameterValues gradients_;
  ShardedOptimizer optimizer_;
  Stage stage_;
  SequenceLayout layout_{0, 1};
  int64_t activation_bytes_ = 0;  // MemoryUse::activations
};

}  // namespace ropewalk

#include "trainer/trainer.h"

#include <algorithm>
#include <cmath>

#include "parallel/communicator/progress_engine.h"
#include "trainer/config/stages.h"
#include "trainer/data/slice.h"
#include "trainer/finite_check.h"
#include "trainer/model/initial_weights.h"
#include "trainer/schedule.h"

namespace ropewalk {

Trainer::Trainer(const Config& config, Rank rank)
    : config_(config),
      polling_(rank.kernels, rank.mesh.world().progress_engine()),
      rank_(rank),
      replica_(config, rank_),
      gradients_(replica_.table, accumulator_of(rank.kernels.dtype()), rank.kernels),
      optimizer_(replica_.weights, gradients_, config.training, rank_) {
  const std::vector<Stage>& stages = config.training.stages;
  const auto fitting = std::ranges::find_if(stages, [&](const Stage& s) { return fits(s, config.parallel.mesh); });
  begin_stage(fitting == stages.end() ? stages.front() : *fitting);
}

// ---- the training step: forward, loss, backward; reduction; norm, clipping, update

double Trainer::forward_backward(const Batch& batch, double scale, ParameterSync* sync) {
  const ParameterValues& weights = replica_.weights;
  double loss = 0;
  Write write = Write::kSet;  // by the first micro-batch; later ones add to the gradients
  for (const MicroBatch& micro : micro_batches(batch, stage_.micro_batch)) {
    ArenaScope scope(rank_.arena);
    const Sequences sequences =
        slice(micro.samples, layout_, rank_.mesh.context_rank(), rank_.kernels, rank_.arena);  // this rank's share
    Activations saved;
    const Tensor x = replica_.model.forward(weights, sequences, saved, sync);
    activation_bytes_ = std::max(activation_bytes_, rank_.arena.used_bytes());
    {
      const Trace::Scope phase(rank_.trace, "loss", "phase");
      loss +=
          rank_.kernels.sum(replica_.model.head().forward(weights, sequences, x, scale, saved.loss, gradients_, write));
    }
    replica_.model.backward(weights, sequences, saved, gradients_, write, micro.is_last ? sync : nullptr);
    write = Write::kAdd;
  }
  return loss * scale;
}

std::optional<double> Trainer::compute_gradients(const Batch& batch) {
  CHECK(!batch.samples.empty(), "a step without samples: its gradients would not be reduced");
  // The loss is divided by the global number of targets before the backward, so that all reductions are plain sums.
  const double targets = targets_of_all_ranks(batch);
  const double loss = forward_backward(batch, targets > 0 ? 1.0 / targets : 0.0, &optimizer_);
  const Trace::Scope phase(rank_.trace, "gradient sums", "phase");
  optimizer_.finish_reduce();
  if (targets == 0) return std::nullopt;  // on all ranks
  return sum_of(rank_.mesh.gradient(), loss);
}

StepResult Trainer::step(const Batch& batch, int64_t step) {
  check_stage(step);
  const double clip_norm = config_.training.clip_norm;
  StepResult result;
  result.learning_rate = learning_rate_at(config_.training, step);
  result.loss = compute_gradients(batch);
  result.gradient_norm = optimizer_.gradient_norm();
  if (!std::isfinite(result.loss.value_or(0)) || !std::isfinite(result.gradient_norm))
    throw_not_finite(batch, step, result);
  const bool clip = clip_norm > 0 && result.gradient_norm > clip_norm;
  const Trace::Scope phase(rank_.trace, "optimizer", "phase");
  optimizer_.update(result.learning_rate, step + 1, clip ? clip_norm / result.gradient_norm : 1.0);
  return result;
}

// ---- checks, initialization, stages, memory

double Trainer::targets_of_all_ranks(const Batch& batch) const {
  return sum_of(rank_.mesh.batch(), static_cast<double>(batch.target_count()));
}

void Trainer::check_stage(int64_t step) const {
  const Stage& due = config_.training.stages[stage_at(config_.training, step)];
  CHECK(stage_.first_step == due.first_step,
        "the step after step {} belongs to the stage that begins after step {}, but the current stage begins after "
        "step {}: call begin_stage() first",
        step, due.first_step, stage_.first_step);
}

// Recomputes this rank's local gradients, which the in-place reduce-scatter has overwritten, to find the tensor in
// which the NaN or infinity began.
void Trainer::throw_not_finite(const Batch& batch, int64_t step, const StepResult& result) {
  const double targets = targets_of_all_ranks(batch);
  forward_backward(batch, targets > 0 ? 1.0 / targets : 0.0, nullptr);
  ropewalk::throw_not_finite(step + 1, result.loss, result.gradient_norm, replica_.weights, gradients_, rank_);
}

void Trainer::initialize() {
  optimizer_.zero_moments();
  draw_initial_weights(optimizer_.master_weights(), replica_.table, config_.model, config_.training.seed,
                       rank_.kernels);
  optimizer_.start_gather();
  optimizer_.finish_gather();  // so that the first step's time excludes this all-gather
}

void Trainer::weights_loaded(const std::string& source) {
  optimizer_.zero_moments();
  optimizer_.start_gather();
  optimizer_.finish_gather();  // as in initialize()
  if (const std::string where = first_weight_not_finite(replica_.weights, rank_); !where.empty())
    throw NumericalError(fmt::format("a weight in {} is not finite: {}; start from another checkpoint", source, where));
}

void Trainer::begin_stage(const Stage& stage) {
  stage_ = stage;
  layout_ = SequenceLayout(stage.sequence_length, config_.parallel.mesh.context_parallel);
  replica_.model.set_theta(stage.theta);
}

MemoryUse Trainer::memory() const {
  return {.weights = replica_.weights.flat().bytes(),
          .gradients = gradients_.flat().bytes(),
          .optimizer = optimizer_.bytes(),
          .activations = activation_bytes_,
          .working = rank_.arena.peak_bytes() - activation_bytes_};
}

void Trainer::check_weights(int64_t steps) {
  optimizer_.finish_gather();
  check_weights_finite(steps, replica_.weights, rank_);
}

}  // namespace ropewalk

#include "trainer/trainer.h"

#include <algorithm>
#include <cmath>

#include "trainer/config/stages.h"
#include "trainer/data/slice.h"
#include "trainer/finite_check.h"
#include "trainer/model/model.h"
#include "trainer/optimizer.h"
#include "trainer/schedule.h"

namespace ropewalk {

namespace {

const UnitHook kNothing = [](size_t) {};

}  // namespace

struct Trainer::Parts {
  Parts(const Config& config_, Rank rank_)
      : config(config_),
        rank(rank_),
        polling(rank.kernels, rank.mesh.world().progress_engine()),
        region(rank.mesh.tensor(), config.parallel.sequence_parallel),
        table(config.model, rank.mesh.shape(), rank.mesh.tensor_rank(), region.token_split(),
              config.parallel.bucket_parameters),
        weights(table, rank.kernels.dtype(), rank.kernels),
        gradients(table, accumulator_of(rank.kernels.dtype()), rank.kernels),
        optimizer(weights, gradients, config.training, rank),
        model(config.model, table, rank, region, config.training.loss_chunk, config.training.recompute,
              [this](size_t unit) { optimizer.finish_gathering(unit); }) {
    const std::vector<Stage>& stages = config.training.stages;
    const auto fitting =
        std::ranges::find_if(stages, [&](const Stage& each) { return fits(each, config.parallel.mesh); });
    begin(fitting == stages.end() ? stages.front() : *fitting);
  }

  void begin(const Stage& next) {
    stage = next;
    layout = SequenceLayout(stage.sequence_length, config.parallel.mesh.context_parallel);
    model.set_theta(stage.theta);
  }

  // Loss and gradients of this rank's share of the batch, as its part of the mean over all ranks' targets; no loss
  // where there is none of them. whole: called when the gradients of a unit are.
  std::optional<double> accumulate_gradients(const Batch& batch, const UnitHook& whole);

  // Visits the batch's samples in micro-batches, each cut to this rank's share; and whether it is the last.
  template <typename Visit>
  void for_each_micro_batch(const Batch& batch, const Visit& visit) {
    const size_t size = static_cast<size_t>(stage.micro_batch);
    for (size_t begin = 0; begin < batch.samples.size(); begin += size) {
      ArenaScope scope(rank.arena);
      const std::span<const Sample> samples(batch.samples.data() + begin, std::min(size, batch.samples.size() - begin));
      visit(slice(samples, layout, rank.mesh.context_rank(), rank.kernels, rank.arena),
            begin + samples.size() == batch.samples.size());
    }
  }

  std::vector<double> to_host(const Tensor& x) const {
    ArenaScope scope(rank.arena);
    const Tensor wide = rank.arena.allocate(DType::kF64, {x.elements()});
    rank.kernels.cast(x.flat(), wide);
    std::vector<double> out(static_cast<size_t>(x.elements()));
    rank.kernels.download(wide, out.data());
    return out;
  }

  const Config& config;
  Rank rank;
  Kernels::Polling polling;  // what is in flight, after every operation
  TensorRegion region;
  ParameterTable table;
  ParameterValues weights, gradients;
  ShardedOptimizer optimizer;
  Model model;
  Stage stage;
  SequenceLayout layout{0, 1};
  int64_t activations = 0;  // bytes
};

Trainer::Trainer(const Config& config, Rank rank) : parts_(std::make_unique<Parts>(config, rank)) {}
Trainer::~Trainer() = default;

void Trainer::initialize() {
  Parts& run = *parts_;
  ropewalk::initialize(run.weights, run.config.model, run.config.training.seed, run.rank.kernels);
  run.optimizer.start();
}

void Trainer::begin_stage(const Stage& stage) { parts_->begin(stage); }

StepResult Trainer::step(const Batch& batch, int64_t step) {
  Parts& run = *parts_;
  const TrainingConfig& training = run.config.training;
  const Stage& due = training.stages[stage_at(training, step)];
  CHECK(run.stage.first_step == due.first_step,
        "the step after step {} is of the stage from {} on, not of that from {}", step, due.first_step,
        run.stage.first_step);
  StepResult result;
  result.loss = compute_gradients(batch);
  result.gradient_norm = run.optimizer.gradient_norm();
  if (!std::isfinite(result.loss.value_or(0)) || !std::isfinite(result.gradient_norm)) {
    run.accumulate_gradients(batch, kNothing);  // once more, as they were before they met those of other ranks
    throw_not_finite(step + 1, result.loss, result.gradient_norm, run.weights, run.gradients, run.rank);
  }

  const bool clip = training.clip_norm > 0 && result.gradient_norm > training.clip_norm;
  result.learning_rate = learning_rate_at(training, step);
  const Trace::Scope phase(run.rank.trace, "optimizer", "phase");
  run.optimizer.update(result.learning_rate, step + 1, clip ? training.clip_norm / result.gradient_norm : 1.0);
  return result;
}

std::optional<double> Trainer::Parts::accumulate_gradients(const Batch& batch, const UnitHook& whole) {
  CHECK(!batch.samples.empty(), "a step without samples, so that no gradients would be summed");
  // Known before the backward, so that all reductions are plain sums. Without targets all losses are 0.
  const double targets = sum_of(rank.mesh.batch(), static_cast<double>(batch.target_count()));
  const double scale = targets > 0 ? 1.0 / targets : 0.0;
  double loss = 0;
  rank.kernels.fill(gradients.flat(), 0);
  for_each_micro_batch(batch, [&](const Sequences& sequences, bool is_last) {
    Activations saved;
    const Tensor x = model.forward(weights, sequences, saved);
    activations = std::max(activations, rank.arena.used_bytes());
    {
      const Trace::Scope phase(rank.trace, "loss", "phase");
      loss += rank.kernels.sum(model.head().forward(weights, sequences, x, scale, saved.loss, gradients));
    }
    model.backward(weights, sequences, saved, gradients, is_last ? whole : kNothing);
  });
  if (targets == 0) return std::nullopt;
  return loss * scale;
}

std::optional<double> Trainer::compute_gradients(const Batch& batch) {
  Parts& run = *parts_;
  const std::optional<double> loss =
      run.accumulate_gradients(batch, [&](size_t unit) { run.optimizer.start_sum(unit); });
  const Trace::Scope phase(run.rank.trace, "gradient sums", "phase");
  run.optimizer.finish_sums();
  if (!loss) return std::nullopt;  // on all ranks
  return sum_of(run.rank.mesh.gradient(), *loss);
}

LossByPosition Trainer::evaluate(const Batch& batch, int64_t position_ranges) {
  Parts& run = *parts_;
  LossByPosition out;
  std::vector<double> counts(static_cast<size_t>(position_ranges));
  out.loss.resize(static_cast<size_t>(position_ranges));
  std::vector<int32_t> targets;
  run.for_each_micro_batch(batch, [&](const Sequences& sequences, bool) {
    const Tensor x = run.model.infer(run.weights, sequences);
    const std::vector<double> losses = run.to_host(run.model.head().losses(run.weights, sequences, x));
    targets.resize(losses.size());
    run.rank.kernels.download(sequences.targets, targets.data());
    for (int64_t b = 0; b < sequences.count; ++b)
      for (const Piece& piece : run.layout.pieces(run.rank.mesh.context_rank()))
        for (int64_t position = piece.begin; position < piece.end; ++position) {
          const size_t row = static_cast<size_t>(b * sequences.local_length + piece.local + position - piece.begin);
          const size_t range = static_cast<size_t>(position * position_ranges / run.layout.length());
          out.loss[range] += losses[row];
          counts[range] += targets[row] >= 0;
        }
  });
  for (size_t range = 0; range < counts.size(); ++range) {
    out.loss[range] = sum_of(run.rank.mesh.gradient(), out.loss[range]);
    out.targets.push_back(static_cast<int64_t>(sum_of(run.rank.mesh.gradient(), counts[range])));
  }
  return out;
}

std::vector<StateTensor> Trainer::gradients() const { return parts_->optimizer.gradients(); }
std::vector<StateTensor> Trainer::state() const { return parts_->optimizer.state(); }
void Trainer::state_loaded() { parts_->optimizer.start_gathering(); }

MemoryUse Trainer::memory() const {
  const Parts& run = *parts_;
  return {.weights = run.weights.flat().bytes(),
          .gradients = run.gradients.flat().bytes(),
          .optimizer = run.optimizer.bytes(),
          .activations = run.activations,
          .working = run.rank.arena.peak_bytes() - run.activations};
}

void Trainer::check_weights(int64_t steps) const {
  parts_->optimizer.finish_gathering();
  check_weights_finite(steps, parts_->weights, parts_->rank);
}

std::vector<double> Trainer::next_token_logits(const std::vector<int32_t>& tokens) {
  Parts& run = *parts_;
  Mesh& mesh = run.rank.mesh;
  ArenaScope scope(run.rank.arena);

  // Padded behind the last token, which the causal mask keeps out of its sight, so that every rank has rows.
  const int64_t unit = 8 * mesh.shape().context_parallel * mesh.shape().tensor_parallel;
  const int64_t last = static_cast<int64_t>(tokens.size()) - 1, length = (last / unit + 1) * unit;
  Sample sample{tokens, std::vector<int32_t>(static_cast<size_t>(length), -1),
                std::vector<int32_t>(static_cast<size_t>(length), 0)};
  sample.tokens.resize(static_cast<size_t>(length), 0);
  const SequenceLayout layout(length, mesh.shape().context_parallel);
  const Sequences sequences = slice({&sample, 1}, layout, mesh.context_rank(), run.rank.kernels, run.rank.arena);

  const Tensor x = run.model.infer(run.weights, sequences);
  std::vector<double> logits(static_cast<size_t>(run.config.model.vocabulary));
  int owner = 0;
  for (int rank = 0; rank < layout.ranks(); ++rank)
    for (const Piece& piece : layout.pieces(rank)) {
      if (last < piece.begin || last >= piece.end) continue;
      owner = rank;
      if (rank == mesh.context_rank())
        logits = run.model.head().logits(run.weights, sequences.local_length, x, piece.local + last - piece.begin);
    }
  mesh.sequence().broadcast(Tensor(logits.data(), DType::kF64, Device{}, {static_cast<int64_t>(logits.size())}), owner);
  return logits;
}

}  // namespace ropewalk

#include "trainer/train_loop.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>

#include "kernels/clock.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/checkpoint_directory.h"
#include "trainer/config/changes.h"
#include "trainer/config/checkpoint_model.h"
#include "trainer/config/load_config.h"
#include "trainer/config/model_text.h"
#include "trainer/config/stages.h"
#include "trainer/data/identity.h"
#include "trainer/data/samples.h"
#include "trainer/evaluation/evaluate.h"
#include "trainer/inference/generate.h"
#include "trainer/metrics/progress.h"
#include "trainer/model/model_flops.h"
#include "trainer/run/run_reporter.h"
#include "trainer/run/step_tracer.h"
#include "trainer/text/format.h"
#include "trainer/trainer.h"

namespace ropewalk {
namespace {

// Failed saves in a row (a full disk) after which the run stops. The newest complete checkpoint is then this many
// intervals old.
constexpr int kFailedSavesBeforeStopping = 3;

// The ranks of a killed job may hold the lock for a moment longer. The other ranks of this job wait for rank 0
// meanwhile, so the wait is also bounded by half the deadline (open_directory).
constexpr auto kLongestWaitForLock = std::chrono::seconds(10);

std::unique_ptr<RunDirectory> open_directory(const Config& config) {
  const auto half_deadline = std::chrono::duration<double>(config.parallel.deadline_seconds / 2);
  const auto patience = std::min<std::chrono::duration<double>>(kLongestWaitForLock, half_deadline);
  StatusLine line(std::cerr, Terminal());
  return std::make_unique<RunDirectory>(config.output.directory, config.resolved_text,
                                        std::chrono::duration_cast<std::chrono::milliseconds>(patience),
                                        [&](const std::string& told) { line.print(told); });
}

// "32 M parameters in 8 layers; 1.1 B tokens in 800 steps", and a line for each stage: what the run is about to do, for
// readers of its log.
std::vector<std::string> run_summary(const Config& config, const std::vector<Dataset>& datasets) {
  const TrainingConfig& training = config.training;
  std::vector<std::string> lines = {""};
  double tokens = 0;
  for (size_t i = 0; i < training.stages.size(); ++i) {
    const Stage& stage = training.stages[i];
    const Dataset& data = datasets[i];
    const auto steps = static_cast<double>(steps_left_in(training, i)), batch = static_cast<double>(stage.batch);
    const double step_tokens = batch * static_cast<double>(stage.sequence_length);
    const auto sequences = static_cast<double>(data.training->samples_per_epoch());
    tokens += steps * step_tokens;
    lines.push_back(fmt::format(
        "{} of {} tokens: {}; {}: {} tokens in {}, {} sequences to train on, which {} {:.2g} times",
        counted(steps_left_in(training, i), "step"), count_text(step_tokens), stage_text(stage), data_text(stage),
        count_text(static_cast<double>(data.tokens)), counted(data.documents, "document"), count_text(sequences),
        training.stages.size() == 1 ? "the run sees" : "the stage sees", steps * batch / sequences));
    for (const Dataset& part : parts_of(data))
      if (const std::string notes = part.training->notes(); !notes.empty())
        lines.push_back(fmt::format("{}: {}", part.prefix, notes));
  }
  lines[0] = fmt::format(
      "{} parameters in {}; {} tokens in {}", count_text(static_cast<double>(parameter_count(config.model))),
      counted(config.model.layers.size(), "layer"), count_text(tokens), counted(training.steps, "step"));
  return lines;
}

class Run {
 public:
  Run(const Config& config, Rank rank, RunData data, const TrainOptions& options)
      : config_(config),
        rank_(rank),
        datasets_(std::move(data.datasets)),
        tokenizer_(std::move(data.tokenizer)),
        directory_(rank.mesh.world().rank() == 0 ? open_directory(config) : nullptr),
        description_{.config_text = config.resolved_text, .data = {}, .tokenizer = tokenizer_.made_by},
        trainer_(config, rank) {
    if (directory_) description_.data = identities_of(config.training.stages);
    if (directory_) directory_->check_writable("checkpoints");  // now, rather than at the first save
    if (directory_ && !directory_->locked())
      to_say_.push_back(
          "warning: output.directory is on a file system without locks, or without room for one; make sure that no "
          "other job writes there");
    if (directory_ && !directory_->durable())
      to_say_.push_back(
          "warning: output.directory is on a file system that cannot make the names of files durable (fsync of a "
          "directory); a power cut may take the newest checkpoint");
    for (std::string& line : run_summary(config, datasets_)) to_say_.push_back(std::move(line));
    load(options.resume_from);
    if (done())
      to_say_.push_back(fmt::format("nothing left to do: {} of {} steps are done; raise training.steps to continue",
                                    progress_.step, config.training.steps));
    reporter_.emplace(config, rank, directory_.get(), progress_.step, options.status_line);
    for (const std::string& line : to_say_) reporter_->say(line);
    tracer_.emplace(config, rank, progress_.step);
    saved_step_ = progress_.step;
    if (loaded_by_name_) remove_old();  // if the run was killed before it could
  }

  bool done() const { return progress_.step >= config_.training.steps; }

  void step() {
    if (const size_t due = stage_at(config_.training, progress_.step); due != stage_) begin_stage(due);
    tracer_->before_step(progress_.step);
    reporter_->start_step();
    const Batch batch = batch_at(*data().training, progress_.order_samples, stage().batch, rank_.mesh.data_rank(),
                                 config_.parallel.mesh.data_parallel);
    const StepResult result = trainer_.step(batch, progress_.step);
    progress_.step += 1;
    progress_.order_samples += stage().batch;
    progress_.consumed_samples += stage().batch;
    progress_.consumed_tokens += stage().batch * stage().sequence_length;
    reporter_->end_step(result, progress_, stage(), batch);
    if (const auto told = tracer_->after_step(progress_.step)) reporter_->say(*told);
    if (due(config_.validation.interval) || done()) validate();
    reporter_->write_step();
  }

  // The checkpoint and the text sample that are due after a step; the sample can take long, so it comes second.
  void after_step() {
    if (done() || due(config_.checkpoint.interval)) save(/*must_succeed=*/done());
    if (done() || due(config_.validation.sample_interval)) sample();
  }

  void save(bool must_succeed) {
    if (saved_step_ == progress_.step && progress_.step > 0) return;
    reporter_->make_durable();
    trainer_.check_weights(progress_.step);  // a checkpoint with a NaN would push out good ones
    try {
      save_checkpoint(checkpoints(), progress_, trainer_.state(), description_, rank_.mesh, rank_.kernels);
    } catch (const CheckpointError& error) {  // the same on all ranks
      if (must_succeed || ++failed_saves_ >= kFailedSavesBeforeStopping) throw;
      reporter_->say(fmt::format("no checkpoint after step {}; the run continues: {}", progress_.step, error.what()));
      return;
    }
    saved_step_ = progress_.step;
    failed_saves_ = 0;
    reporter_->say(fmt::format("saved a checkpoint after step {}", progress_.step));
    remove_old();
  }

 private:
  std::filesystem::path checkpoints() const { return checkpoints_of(config_.output.directory); }
  const Stage& stage() const { return config_.training.stages[*stage_]; }
  const Dataset& data() const { return datasets_[*stage_]; }
  bool due(int64_t interval) const { return interval > 0 && progress_.step % interval == 0; }

  void remove_old() {
    try {
      remove_old_checkpoints(checkpoints(), progress_.step, config_.checkpoint.keep, rank_.mesh);
    } catch (const CheckpointError& error) {  // the next save tries again
      reporter_->say(fmt::format("warning: {}", error.what()));
    }
  }

  void begin_stage(size_t due) {
    stage_ = due;
    trainer_.begin_stage(stage());
    if (config_.training.stages.size() > 1)
      reporter_->say(fmt::format("after step {}: {}", progress_.step, stage_text(stage())));
    if (progress_.order_begin == stage().order_begin) return;
    if (progress_.step != stage().order_begin)
      reporter_->say("warning: the checkpoint was saved in another stage; this one starts with its first samples");
    progress_.order_begin = stage().order_begin;
    progress_.order_samples = 0;
  }

  // Resumes from a checkpoint of this run, or begins at step 0.
  void load(std::optional<int64_t> step) {
    const std::optional<LoadedCheckpoint> own = load_own(step);
    // If an older checkpoint than the newest was loaded, stages that seemed over are still to come: check them, too.
    parse_config(config_.resolved_text, "the configuration", {}, rank_.mesh.world().size(),
                 own ? own->progress.step : 0);
    if (!own && !config_.training.start_from.empty())
      start_from(config_.training.start_from);
    else if (!own)
      trainer_.initialize();
    if (step) set_aside_later_checkpoints(checkpoints(), *step, rank_.mesh);
    if (own) resume(*own);
  }

  // step: as TrainOptions::resume_from.
  std::optional<LoadedCheckpoint> load_own(std::optional<int64_t> step) {
    const std::vector<StateTensor> state = trainer_.state();
    const auto warn = [&](const std::string& line) { to_say_.push_back(line); };
    if (!step) return load_newest_checkpoint(checkpoints(), state, rank_.mesh, rank_.kernels, warn);
    if (*step == 0) return std::nullopt;
    return load_checkpoint(find_checkpoint(checkpoints(), *step, rank_.mesh), state, rank_.mesh, rank_.kernels);
  }

  void resume(const LoadedCheckpoint& loaded) {
    trainer_.state_loaded();
    progress_ = loaded.progress;
    description_.source_files = loaded.run.source_files;
    check_same_tokenizer(loaded.run.tokenizer, "the checkpoint " + loaded.path.string(), tokenizer_.made_by, "the data",
                         "train with data that were made by the checkpoint's tokenizer, or begin another run with "
                         "training.start_from");
    loaded_by_name_ = loaded.path == checkpoint_path(checkpoints(), progress_.step);
    to_say_.push_back(fmt::format("continuing after step {} from {}", progress_.step, loaded.path.string()));
    for (const std::string& line : config_changes(loaded.run.config_text, config_.resolved_text, progress_.step))
      to_say_.push_back(line);
    for (const std::string& line :
         data_changes(loaded.run.data, description_.data, config_.training.stages, progress_.step))
      to_say_.push_back(line);
  }

  // Takes the weights of a checkpoint, but nothing else of its run.
  void start_from(const std::string& checkpoint) {
    const LoadedCheckpoint loaded = load_checkpoint(checkpoint, trainer_.master_weights(), rank_.mesh, rank_.kernels);
    trainer_.weights_loaded(checkpoint);
    description_.source_files = loaded.run.source_files;
    const bool imported = loaded.progress.step == 0 && loaded.run.data.empty();
    to_say_.push_back(
        fmt::format("starting from the weights of {} ({})", checkpoint,
                    imported ? "imported from Hugging Face" : fmt::format("step {} of its run", loaded.progress.step)));
    if (const std::optional<TokenizerOfData>& theirs = loaded.run.tokenizer;
        theirs && tokenizer_.made_by && !(theirs->identity == tokenizer_.made_by->identity))
      to_say_.push_back(fmt::format("warning: the data were made by the tokenizer {}, but {} was trained with {}",
                                    tokenizer_text(tokenizer_.made_by->identity), checkpoint,
                                    tokenizer_text(theirs->identity)));
    const std::string model = model_group_of(loaded.run.config_text, loaded.progress.step, "its configuration");
    for (const std::string& line : model_changes(model, config_.resolved_text)) to_say_.push_back(line);
  }

  void validate() {
    if (!data().validation || config_.validation.interval == 0) return;
    const double began = steady_seconds();
    const LossByPosition total = evaluate(trainer_.predictor(), *data().validation, config_.validation.samples,
                                          {stage().micro_batch, config_.validation.position_ranges}, rank_.mesh);
    reporter_->validation({total.mean(), total.means(), steady_seconds() - began});
  }

  void sample() {
    if (!tokenizer_.text || config_.validation.sample_tokens == 0) return;
    std::vector<int32_t> prompt = tokenizer_.text->encode(config_.validation.prompt);
    const std::optional<int32_t> end = tokenizer_.made_by->end_of_document;
    if (prompt.empty()) {
      if (!end)
        throw ConfigurationError(
            "validation.prompt is empty, and neither the data nor the tokenizer's files say which token ends a "
            "document; set "
            "validation.prompt, or validation.sample_tokens: 0 for no text");
      prompt.push_back(*end);
    }
    const GenerationRequest request{
        .prompt = std::move(prompt),
        .tokens = config_.validation.sample_tokens,
        .sampling = {.temperature = config_.validation.temperature, .seed = config_.training.seed},
        .end = end.value_or(-1)};
    const Generation text = generate(trainer_.predictor(), {&request, 1}, 1).front();
    reporter_->sample(progress_.step, config_.validation.prompt + tokenizer_.text->decode(text.tokens));
  }

  const Config& config_;
  Rank rank_;
  std::vector<Dataset> datasets_;  // by stage
  DataTokenizer tokenizer_;
  std::unique_ptr<RunDirectory> directory_;  // on rank 0, else null
  RunDescription description_;
  Trainer trainer_;
  TrainingProgress progress_;
  std::optional<size_t> stage_;      // of the latest step; absent before this start's first step
  std::vector<std::string> to_say_;  // lines to print once the reporter exists
  std::optional<RunReporter> reporter_;
  std::optional<StepTracer> tracer_;
  int64_t saved_step_ = 0;
  int failed_saves_ = 0;
  bool loaded_by_name_ = false;  // from step-N, not from step-N.old (then the next save cleans up)
};

}  // namespace

RunData open_run_data(const Config& config) {
  RunData data{open_datasets(config), open_data_tokenizer(config)};
  check_shows_text(data.tokenizer, config);
  return data;
}

RunEnd train(const Config& config, Rank rank, RunData data, const TrainOptions& options) {
  Run run(config, rank, std::move(data), options);
  while (!run.done()) {
    if (any_of(rank.mesh.world(), options.stop_requested && options.stop_requested())) {
      run.save(/*must_succeed=*/true);
      return RunEnd::kStopped;
    }
    run.step();
    run.after_step();
  }
  return RunEnd::kDone;  // after_step() has saved
}

}  // namespace ropewalk

#include "trainer/run_reporter.h"

#include <sys/resource.h>

#include <iostream>

#include "trainer/metrics/event_writer.h"
#include "trainer/metrics/progress.h"
#include "trainer/work.h"

namespace ropewalk {
namespace {

double peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;  // Linux counts KiB
}

}  // namespace

struct RunReporter::Files {
  Files(const Config& config, const RunDirectory& directory, int64_t resumed_step, bool status_line)
      : metrics(directory.path() / "metrics.jsonl", resumed_step),
        events(directory.path() / "events", resumed_step),
        line(std::cerr, status_line ? Terminal::of_stderr() : Terminal()),
        progress(line, config.output.log_interval) {}
  MetricsFile metrics;
  EventWriter events;
  StatusLine line;
  StepProgress progress;
};

RunReporter::RunReporter(const Config& config, Rank rank, const RunDirectory* directory, int64_t resumed_step,
                         bool status_line)
    : config_(config), rank_(rank) {
  if (!directory) return;
  directory->write_config(config.resolved_text);
  files_ = std::make_unique<Files>(config, *directory, resumed_step, status_line);
  const std::filesystem::path& kept = files_->metrics.kept();
  if (!kept.empty()) say(fmt::format("the metrics of an earlier run are kept as {}", kept.string()));
}

RunReporter::~RunReporter() = default;

void RunReporter::start_step() {
  counters_before_ = rank_.mesh.counters();
  started_ = steady_seconds();
}

void RunReporter::end_step(const StepResult& result, const TrainingProgress& progress, const Stage& stage,
                           double flops) {
  const double seconds = steady_seconds() - started_;
  const auto counters = rank_.mesh.counters();
  // The ranks of a data rank share its batch: one of them counts it.
  const bool first_of_batch = rank_.mesh.context_rank() == 0 && rank_.mesh.tensor_rank() == 0;
  std::vector<double> sums = {first_of_batch ? flops : 0.0};
  for (size_t axis = 0; axis < counters.size(); ++axis)
    sums.push_back(static_cast<double>(counters[axis].second.bytes_sent - counters_before_[axis].second.bytes_sent));
  sum_each(rank_.mesh.world(), sums);
  const double peak_memory = maximum_of(rank_.mesh.world(), peak_memory_bytes());
  std::optional<int64_t> device_peak;
  if (const auto here = rank_.kernels.peak_device_bytes())
    device_peak = static_cast<int64_t>(maximum_of(rank_.mesh.world(), static_cast<double>(*here)));
  if (!files_) return;

  step_ = StepMetrics();
  step_.step = progress.step;
  step_.total_steps = config_.training.steps;
  step_.time = unix_seconds();
  step_.loss = result.loss;
  step_.gradient_norm = result.gradient_norm;
  step_.learning_rate = result.learning_rate;
  step_.sequence_length = stage.sequence_length;
  step_.tokens = progress.consumed_tokens;
  step_.seconds = seconds;
  step_.tokens_per_second = static_cast<double>(stage.batch * stage.sequence_length) / seconds;
  step_.model_flops_per_second = sums[0] / seconds;
  if (config_.output.peak_flops > 0)
    step_.model_flops_utilization =
        step_.model_flops_per_second / (config_.output.peak_flops * rank_.mesh.world().size());
  for (size_t axis = 0; axis < counters.size(); ++axis)
    step_.bytes_sent[counters[axis].first] = static_cast<int64_t>(sums[axis + 1]);
  step_.peak_memory_bytes = static_cast<int64_t>(peak_memory);
  step_.peak_device_memory_bytes = device_peak;
  // A running mean. The work is counted, not the steps, because those of other stages cost more or less.
  const double seconds_per_flop = seconds / step_flops(config_.model, stage);
  seconds_per_flop_ = seconds_per_flop_ > 0 ? 0.9 * seconds_per_flop_ + 0.1 * seconds_per_flop : seconds_per_flop;
  step_.seconds_remaining = seconds_per_flop_ * flops_left(config_, progress.step);
}

void RunReporter::write_step() {
  if (!files_) return;
  write(metrics_fail_, [&] { files_->metrics.write(step_); });
  write(events_fail_, [&] { files_->events.scalars(step_.step, scalars_of(step_)); });
  files_->progress.step(step_);
}

void RunReporter::sample(int64_t step, std::string_view text) {
  if (!files_) return;
  write(events_fail_, [&] { files_->events.text(step, "sample", text); });
  files_->line.print(fmt::format("sample after step {}:\n{}\n", step, printable_text(text)));
}

void RunReporter::write(bool& fails, const std::function<void()>& action) {
  try {
    action();
    fails = false;
  } catch (const DataError& error) {
    if (!fails) say(fmt::format("warning: {} Going on; what was not written is kept for the next try.", error.what()));
    fails = true;
  }
}

void RunReporter::say(std::string_view line) {
  if (files_) files_->line.print(line);
}

}  // namespace ropewalk

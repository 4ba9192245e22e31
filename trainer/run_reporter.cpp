#include "trainer/run_reporter.h"

#include <sys/resource.h>

#include <iostream>

#include "trainer/metrics/event_writer.h"
#include "trainer/metrics/progress.h"

namespace ropewalk {
namespace {

double peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;  // Linux counts KiB
}

}  // namespace

struct RunReporter::Files {
  Files(const Config& config, const RunDirectory& directory, int64_t resumed_step)
      : metrics(directory.path() / "metrics.jsonl", resumed_step),
        events(directory.path() / "events", resumed_step),
        line(std::cerr, Terminal::of_stderr()),
        progress(line, config.output.log_interval) {}
  MetricsFile metrics;
  EventWriter events;
  StatusLine line;
  StepProgress progress;
};

RunReporter::RunReporter(const Config& config, Rank rank, const RunDirectory* directory, int64_t resumed_step)
    : config_(config), rank_(rank) {
  if (!directory) return;
  directory->write_config(config.resolved_text);
  files_ = std::make_unique<Files>(config, *directory, resumed_step);
}

RunReporter::~RunReporter() = default;

std::map<std::string, int64_t> RunReporter::bytes_by_axis() const {
  std::map<std::string, int64_t> out;
  const auto counters = rank_.mesh.counters();
  for (const auto& [axis, counted] : counters)
    out[axis] = static_cast<int64_t>(sum_of(rank_.mesh.world(), static_cast<double>(counted.bytes_sent)));
  return out;
}

void RunReporter::start_step() {
  bytes_before_ = bytes_by_axis();
  started_ = steady_seconds();
}

void RunReporter::step(const StepResult& result, const TrainingProgress& progress, double flops,
                       const std::optional<ValidationMetrics>& validation) {
  const double seconds = steady_seconds() - started_;
  StepMetrics m;
  m.bytes_sent = bytes_by_axis();
  for (auto& [axis, bytes] : m.bytes_sent) bytes -= bytes_before_[axis];
  m.peak_memory_bytes = static_cast<int64_t>(maximum_of(rank_.mesh.world(), peak_memory_bytes()));
  const double all_flops = sum_of(rank_.mesh.batch(), flops);
  if (!files_) return;

  m.step = progress.step;
  m.total_steps = config_.training.steps;
  m.time = unix_seconds();
  m.loss = result.loss;
  m.gradient_norm = result.gradient_norm;
  m.learning_rate = result.learning_rate;
  m.tokens = progress.consumed_tokens;
  m.seconds = seconds;
  const double tokens = static_cast<double>(config_.training.batch * config_.data.sequence_length);
  m.tokens_per_second = tokens / seconds;
  m.model_flops_per_second = all_flops / seconds;
  seconds_per_step_ = seconds_per_step_ > 0 ? 0.9 * seconds_per_step_ + 0.1 * seconds : seconds;  // a running mean
  m.seconds_remaining = seconds_per_step_ * static_cast<double>(config_.training.steps - progress.step);
  m.validation = validation;
  files_->metrics.write(m);
  files_->events.scalars(m.step, scalars_of(m));
  files_->progress.step(m);
}

void RunReporter::sample(int64_t step, std::string_view text) {
  if (!files_) return;
  files_->events.text(step, "sample", text);
  files_->line.print(fmt::format("sample after step {}:\n{}\n", step, printable_text(text)));
}

void RunReporter::say(std::string_view line) {
  if (files_) files_->line.print(line);
}

}  // namespace ropewalk

#include "trainer/run/run_reporter.h"

#include <sys/resource.h>

#include <iostream>

#include "trainer/metrics/event_writer.h"
#include "trainer/metrics/metrics_file.h"
#include "trainer/metrics/progress.h"
#include "trainer/run/devices.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

double peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;  // Linux counts KiB
}

}  // namespace

struct RunReporter::Files {
  Files(const Config& config, const RunDirectory& directory_, int64_t resumed_step, bool status_line)
      : directory(directory_),
        line(std::cerr, status_line ? Terminal::of_stderr() : Terminal()),
        metrics(directory.path() / "metrics.jsonl", resumed_step,
                [this](const std::string& told) { line.print(told); }),
        events(directory.path() / "events", resumed_step),
        progress(line, config.output.log_interval) {}
  const RunDirectory& directory;
  StatusLine line;
  MetricsFile metrics;
  EventWriter events;
  StepProgress progress;
};

RunReporter::RunReporter(const Config& config, Rank rank, const RunDirectory* directory, int64_t resumed_step,
                         bool status_line)
    : config_(config), rank_(rank), flops_(config.model), peak_flops_(config.output.peak_flops) {
  if (const auto device = rank.kernels.device_status(); device && peak_flops_ == 0)
    if (const DeviceModel* const known = gpu_by_cuda_name(device->name)) peak_flops_ = known->peak_flops;
  if (!directory) return;
  files_ = std::make_unique<Files>(config, *directory, resumed_step, status_line);
  write_config();
  attempt(metrics_fail_, files_->metrics, [&] { files_->metrics.start(); });
  attempt(events_fail_, files_->events, [&] { files_->events.flush(); });
}

RunReporter::~RunReporter() = default;

void RunReporter::start_step() {
  counters_before_ = rank_.mesh.counters();
  started_ = steady_seconds();
}

void RunReporter::end_step(const StepResult& result, const TrainingProgress& progress, const Stage& stage,
                           const Batch& batch) {
  const double seconds = steady_seconds() - started_;
  const auto counters = rank_.mesh.counters();
  // All ranks of a data rank have the same batch: one of them counts it.
  const bool first_of_batch = rank_.mesh.context_rank() == 0 && rank_.mesh.tensor_rank() == 0;
  std::vector<double> sums = {first_of_batch ? flops_.of_batch(batch) : 0.0, peak_flops_, peak_flops_ > 0 ? 0.0 : 1.0};
  const size_t first_axis = sums.size();
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
  if (sums[2] == 0)  // every rank's peak is known
    step_.model_flops_utilization = step_.model_flops_per_second / sums[1];
  for (size_t axis = 0; axis < counters.size(); ++axis)
    step_.bytes_sent[counters[axis].first] = static_cast<int64_t>(sums[first_axis + axis]);
  step_.peak_memory_bytes = static_cast<int64_t>(peak_memory);
  step_.peak_device_memory_bytes = device_peak;
  // A running mean per FLOP, not per step, because the steps of other stages cost more or less.
  const double seconds_per_flop = seconds / flops_.of_step(stage);
  seconds_per_flop_ = seconds_per_flop_ > 0 ? 0.9 * seconds_per_flop_ + 0.1 * seconds_per_flop : seconds_per_flop;
  step_.seconds_remaining = seconds_per_flop_ * flops_.left(config_.training, progress.step);
}

void RunReporter::write_step() {
  if (!files_) return;
  files_->metrics.add(step_);
  attempt(metrics_fail_, files_->metrics, [&] { files_->metrics.flush(); });
  files_->events.scalars(step_.step, scalars_of(step_));
  attempt(events_fail_, files_->events, [&] { files_->events.flush(); });
  files_->progress.step(step_);
}

void RunReporter::sample(int64_t step, std::string_view text) {
  if (!files_) return;
  files_->events.text(step, "sample", text);
  attempt(events_fail_, files_->events, [&] { files_->events.flush(); });
  files_->line.print(fmt::format("sample after step {}:\n{}\n", step, printable_text(text)));
}

void RunReporter::make_durable() {
  if (!files_) return;
  if (config_fails_) write_config();
  attempt(metrics_fail_, files_->metrics, [&] { files_->metrics.sync(); });
  attempt(events_fail_, files_->events, [&] { files_->events.sync(); });
}

void RunReporter::write_config() {
  config_fails_ =
      fails([&] { files_->directory.write_config([&](const std::string& told) { say(told); }); }, config_fails_);
}

template <typename Output>
void RunReporter::attempt(bool& failing, const Output& output, const std::function<void()>& write) {
  const bool failed = failing;
  failing = fails(write, failed);
  if (failing || !failed) return;
  const std::string lost = output.lost() > 0 ? fmt::format(", without {} that no longer fitted into the buffer",
                                                           counted(output.lost(), "record"))
                                             : "";
  say(fmt::format("{} can be written again{}", output.path().string(), lost));
}

bool RunReporter::fails(const std::function<void()>& write, bool told) {
  try {
    write();
    return false;
  } catch (const FileError& error) {
    if (!told)
      say(fmt::format("warning: {}. The run continues; what was not written is kept, and will be tried again.",
                      error.what()));
    return true;
  }
}

void RunReporter::say(std::string_view line) {
  if (files_) files_->line.print(line);
}

}  // namespace ropewalk

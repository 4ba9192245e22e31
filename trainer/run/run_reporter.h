// The output of a run: metrics.jsonl, TensorBoard events, text samples, and the progress line. Rank 0 writes; every
// rank calls, because the numbers are reduced over all ranks.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "parallel/rank.h"
#include "trainer/checkpoint/state.h"
#include "trainer/metrics/metrics.h"
#include "trainer/model/model_flops.h"
#include "trainer/run/run_directory.h"
#include "trainer/trainer.h"

namespace ropewalk {

class RunReporter {
 public:
  // directory: on rank 0, else null. resumed_step: if > 0, the output continues after that step, and what an
  // interrupted run wrote about later steps is discarded. status_line: redraw a status line in place, if stderr can
  // show it. A file that cannot be written never stops training.
  RunReporter(const Config& config, Rank rank, const RunDirectory* directory, int64_t resumed_step, bool status_line);
  ~RunReporter();

  // Call these around the work whose time counts as the step's. batch: this data rank's; progress: after the step.
  void start_step();
  void end_step(const StepResult& result, const TrainingProgress& progress, const Stage& stage,
                const Batch& batch);  // collective
  // Call after end_step() if validation ran.
  void validation(const ValidationMetrics& metrics) { step_.validation = metrics; }
  // Writes the step's metrics, and shows its progress. If a file cannot be written (a full disk, a directory in its
  // place), warns, and tries again at the next step.
  void write_step();
  // Call before saving a checkpoint: fsyncs metrics and events, so that they survive a power cut if the checkpoint
  // does.
  void make_durable();
  void sample(int64_t step, std::string_view text);
  void say(std::string_view line);  // on rank 0, above the progress line

 private:
  struct Files;
  // Calls write(), and reports when it begins to fail and when it works again. output: metrics or events.
  template <typename Output>
  void attempt(bool& failing, const Output& output, const std::function<void()>& write);
  bool fails(const std::function<void()>& write, bool told);  // told: an earlier failure was already reported
  void write_config();

  const Config& config_;
  Rank rank_;
  ModelFlops flops_;
  // Of this rank's device: output.peak_flops, else the peak of a GPU that is known by name (devices.h); 0: unknown.
  double peak_flops_ = 0;
  std::unique_ptr<Files> files_;  // on rank 0
  std::vector<std::pair<std::string, CommunicationCounters>> counters_before_;
  double started_ = 0, seconds_per_flop_ = 0;
  StepMetrics step_;
  bool config_fails_ = false, metrics_fail_ = false, events_fail_ = false;  // whether the latest write of each failed
};

}  // namespace ropewalk

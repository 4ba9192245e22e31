// What a run tells the world: metrics.jsonl, TensorBoard events, samples of text, and the progress line. Rank 0 writes;
// every rank calls, because the numbers are gathered from all.
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
  // `directory`: on rank 0, else null. `resumed_step` > 0: goes on after that step, and forgets what an interrupted run
  // said of later ones. No file keeps a run from training. status_line: one that is drawn in place, on a terminal that
  // can show it.
  RunReporter(const Config& config, Rank rank, const RunDirectory* directory, int64_t resumed_step, bool status_line);
  ~RunReporter();

  // Around what counts as the step. batch: this data rank's; progress: after the step.
  void start_step();
  void end_step(const StepResult& result, const TrainingProgress& progress, const Stage& stage,
                const Batch& batch);                                                 // collective
  void validation(const ValidationMetrics& metrics) { step_.validation = metrics; }  // after that step, if there is one
  // Writes and shows the step. A file that cannot be written (a full disk, a directory in its place) is told of, and
  // tried again at the next.
  void write_step();
  // Before a checkpoint: what was said of the steps up to it outlives a power cut, if it does.
  void make_durable();
  void sample(int64_t step, std::string_view text);
  void say(std::string_view line);  // on rank 0, above the progress line

 private:
  struct Files;
  // Writes, and tells when that begins to fail and when it works again. output: metrics or events.
  template <typename Output>
  void attempt(bool& failing, const Output& output, const std::function<void()>& write);
  bool fails(const std::function<void()>& write, bool told);
  void write_config();

  const Config& config_;
  Rank rank_;
  ModelFlops flops_;
  double peak_flops_ =
      0;  // of this rank's device: output.peak_flops, or what is known of a GPU of its name; 0: not known
  std::unique_ptr<Files> files_;  // on rank 0
  std::vector<std::pair<std::string, CommunicationCounters>> counters_before_;
  double started_ = 0, seconds_per_flop_ = 0;
  StepMetrics step_;
  bool config_fails_ = false, metrics_fail_ = false, events_fail_ = false;  // the latest write, which was told of
};

}  // namespace ropewalk

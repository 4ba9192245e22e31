// What a run tells the world: metrics.jsonl, TensorBoard events, samples of text, and the progress line. Rank 0 writes;
// every rank calls, because the numbers are gathered from all.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "trainer/metrics/metrics.h"
#include "trainer/rank.h"
#include "trainer/run_directory.h"
#include "trainer/trainer.h"

namespace ropewalk {

class RunReporter {
 public:
  // Collective. `directory`: on rank 0, else null. `resumed_step` > 0: goes on after that step, and forgets what an
  // interrupted run said of later ones.
  RunReporter(const Config& config, Rank rank, const RunDirectory* directory, int64_t resumed_step);
  ~RunReporter();

  void start_step();
  // After start_step() and the step: `flops` of this data rank's batch (on its first rank), progress after the step.
  void step(const StepResult& result, const TrainingProgress& progress, double flops,
            const std::optional<ValidationMetrics>& validation);
  void sample(int64_t step, std::string_view text);
  void say(std::string_view line);  // on rank 0, above the progress line

 private:
  struct Files;
  std::map<std::string, int64_t> bytes_by_axis() const;  // sent by all ranks so far; collective

  const Config& config_;
  Rank rank_;
  std::unique_ptr<Files> files_;  // on rank 0
  std::map<std::string, int64_t> bytes_before_;
  double started_ = 0, seconds_per_step_ = 0;
  int64_t tokens_before_ = 0;
};

}  // namespace ropewalk

// Traces some steps of a run into files: <output.directory>/trace/rank-N.json, N in five digits.
#pragma once

#include <optional>
#include <string>

#include "parallel/rank.h"
#include "trainer/config/config.h"

namespace ropewalk {

class StepTracer {
 public:
  // Traces output.trace_steps steps, from step `resumed_step` + output.trace_after on; nothing if rank.trace is null.
  StepTracer(const Config& config, Rank rank, int64_t resumed_step);

  void before_step(int64_t steps_done);  // collective
  // After the last traced step, writes the files and returns a message: where they are, or why there are none.
  // Collective.
  std::optional<std::string> after_step(int64_t steps_done);

 private:
  std::string write() const;

  const Config& config_;
  Rank rank_;
  int64_t begin_, end_;  // steps [begin_, end_) are traced
  double origin_ = 0;    // zero of the times in the files, in steady seconds
};

}  // namespace ropewalk

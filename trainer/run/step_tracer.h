// The steps of a run that are traced, and the files that come of it: <output.directory>/trace/rank-N.json.
#pragma once

#include <optional>
#include <string>

#include "parallel/rank.h"
#include "trainer/config/config.h"

namespace ropewalk {

class StepTracer {
 public:
  // Traces output.trace_steps steps, from `resumed_step` + output.trace_after on; nothing if rank.trace is null.
  StepTracer(const Config& config, Rank rank, int64_t resumed_step);

  void before_step(int64_t steps_done);  // collective
  // Returns what to tell, when the last traced step is done: where the files are, or why there are none. Collective.
  std::optional<std::string> after_step(int64_t steps_done);

 private:
  std::string write() const;

  const Config& config_;
  Rank rank_;
  int64_t begin_, end_;  // steps [begin_, end_) are traced
  double origin_ = 0;    // of the times in the files, in steady seconds
};

}  // namespace ropewalk

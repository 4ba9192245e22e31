// A run from its first step, or from a checkpoint, to its last step: steps, validation, text samples, checkpoints,
// metrics, and an orderly stop on request.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "parallel/rank.h"
#include "trainer/config/config.h"
#include "trainer/data/data_tokenizer.h"
#include "trainer/data/samples.h"

namespace ropewalk {

enum class RunEnd { kDone, kStopped };

struct TrainOptions {
  // Resumes from the checkpoint of this step (0: starts from training.start_from or initial weights), and sets later
  // checkpoints aside. Absent: resumes from the newest complete checkpoint in the run's directory, if there is one.
  std::optional<int64_t> resume_from;
  bool status_line = true;               // redraws a status line on a terminal; false: plain lines
  std::function<bool()> stop_requested;  // called on every rank before every step; true on any rank: all stop
};

// What a run reads.
struct RunData {
  std::vector<Dataset> datasets;
  DataTokenizer tokenizer;
};
// Throws DataError or ConfigurationError.
RunData open_run_data(const Config& config);

// Returns kStopped after options.stop_requested, when a checkpoint has been saved. data: open_run_data(config).
// Collective over rank.mesh.world().
RunEnd train(const Config& config, Rank rank, RunData data, const TrainOptions& options);

}  // namespace ropewalk

// A run from its first step, or from a checkpoint, to its last: steps, validation, samples of text, checkpoints,
// metrics, and an orderly stop when asked.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "parallel/rank.h"
#include "trainer/config/config.h"
#include "trainer/data/samples.h"

namespace ropewalk {

enum class RunEnd { kDone, kStopped };

struct TrainOptions {
  // Goes back to the checkpoint of this step (0: to the start), and sets later ones aside. Absent: the newest whole
  // checkpoint of the run's directory, if there is one.
  std::optional<int64_t> resume_from;
  bool status_line = true;               // on a terminal; false: plain lines, as in a log
  std::function<bool()> stop_requested;  // asked on every rank before every step; one true stops all of them
};

// Collective over rank.mesh.world(). datasets: open_datasets(config).
RunEnd train(const Config& config, Rank rank, std::vector<Dataset> datasets, const TrainOptions& options);

}  // namespace ropewalk

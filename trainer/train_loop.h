// A run from its first step, or from its newest checkpoint, to its last: steps, validation, samples of text,
// checkpoints, metrics, and an orderly stop when asked.
#pragma once

#include <functional>

#include "trainer/config.h"
#include "trainer/rank.h"

namespace ropewalk {

enum class RunEnd { kDone, kStopped };

struct TrainOptions {
  bool resume = true;  // continue from the newest whole checkpoint of the run's directory, if there is one
  std::function<bool()> stop_requested;  // asked on every rank before every step; one true stops all of them
};

// Collective over rank.mesh.world().
RunEnd train(const Config& config, Rank rank, const TrainOptions& options);

}  // namespace ropewalk

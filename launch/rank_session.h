// How every verb of many ranks begins: the ranks join the job, one of them reads the configuration for all, and each
// chooses its device, takes its place in the mesh and reserves its memory. The verb adds what it does then.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "launch/command_line.h"
#include "launch/process/process.h"
#include "parallel/rank.h"
#include "trainer/config/config.h"
#include "trainer/run/estimate.h"

namespace ropewalk {

struct RankSession {
  Process& process;
  const Config& config;
  Rank rank;
};

struct RankJob {
  Purpose purpose = Purpose::kTraining;  // what the memory is reserved for
  // On rank 0: the step whose checkpoint, of those in this folder, the job begins from. Stages that are over by then
  // need not fit the mesh.
  std::function<int64_t(const std::filesystem::path& checkpoints)> first_step;
  std::function<ExitCode(RankSession&)> run;
};

// Runs the job on every rank; CONFIG is the verb's first positional argument. Errors are told as Process::run tells
// them.
ExitCode run_on_ranks(const Arguments& arguments, const Launcher& launcher, const RankJob& job);

// The options that run_on_ranks() reads.
std::vector<Option> rank_options();

}  // namespace ropewalk

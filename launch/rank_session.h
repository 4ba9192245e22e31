// How every verb of many ranks begins: the ranks join the job, one of them reads the configuration for all, and each
// chooses its device, takes its place in the mesh and reserves its memory. The verb adds what it does then.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "launch/command_line.h"
#include "parallel/rank.h"
#include "trainer/config/config.h"
#include "trainer/run/estimate.h"

namespace ropewalk {

struct RankJob {
  Purpose purpose = Purpose::kTraining;  // what memory is reserved for, and which stages must fit the mesh
  std::string step_option;  // the option that names a checkpoint of the run by its step; without it: the newest
  // Opens what the run reads, before devices are chosen and memory is reserved: a mistake there is the user's first.
  std::function<void(const Config&)> open = {};
  std::function<ExitCode(const Config&, const Rank&)> run;
};

// Runs the job on every rank; CONFIG is the verb's first positional argument. Errors are told as Process::run tells
// them.
ExitCode run_on_ranks(const Arguments& arguments, const Launcher& launcher, const RankJob& job);

// The options that run_on_ranks() reads.
std::vector<Option> rank_options();

}  // namespace ropewalk

// The start shared by all verbs that run on many ranks: the ranks join the job, rank 0 reads the configuration for all
// (or what else the verb makes its configuration from), and each rank chooses its device, takes its place in the mesh
// and reserves its memory. Then the verb's own function runs.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "launch/command_line.h"
#include "parallel/rank.h"
#include "trainer/config/config.h"
#include "trainer/run/estimate.h"

namespace ropewalk {

// The configuration for a number of ranks, as parse_config() gives it.
using ConfigFor = std::function<Config(std::optional<int> ranks)>;

// The beginning of a job, before devices, mesh and memory.
struct JobStart {
  Communicator& ranks;  // all ranks of the job
  // config_for(the number of ranks). If that is refused for the number of ranks alone, the error says how to start
  // another number.
  std::function<Config(const ConfigFor& config_for)> configure;
};

struct RankJob {
  Purpose purpose = Purpose::kTraining;  // decides how much memory is reserved, and which stages must fit the mesh
  std::string step_option =
      {};  // the option that selects a checkpoint of the run by its step; if not given: the newest
  // Makes the configuration, the same on every rank, for a verb without CONFIG. Collective. Null: reads CONFIG.
  std::function<Config(const JobStart&)> configure = {};
  std::string to_need_less = "";  // advice for a rank that has too little memory; empty: the advice of training
  // Opens what the run reads, before devices are chosen and memory is reserved, so that errors of the data come first.
  // steps_done: steps of the run that are done; without training, those before the last one.
  std::function<void(const Config&, int64_t steps_done)> open = {};
  std::function<ExitCode(const Config&, const Rank&)> run;
};

// Runs the job on every rank; CONFIG is the verb's first positional argument, if it has one. Errors are reported as in
// Process::run.
ExitCode run_on_ranks(const Arguments& arguments, const Launcher& launcher, const RankJob& job);

// The options that run_on_ranks() reads.
std::vector<Option> rank_options();

}  // namespace ropewalk

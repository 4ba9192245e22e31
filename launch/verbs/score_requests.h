// The form of `ropewalk evaluate` without CONFIG: scores the requests of a file with the model of a checkpoint.
#pragma once

#include <vector>

#include "launch/command_line.h"

namespace ropewalk {

std::vector<Option> scoring_options();
// Runs on all ranks of the job.
ExitCode score_requests(const Arguments& arguments, const Launcher& launcher);

}  // namespace ropewalk

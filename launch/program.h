// The program `ropewalk`: finds the verb, runs it, and turns any exception into a message and an exit code.
#pragma once

#include <string>
#include <vector>

#include "kernels/error.h"

namespace ropewalk {

// words: the command line without the program's name.
ExitCode run_program(const std::vector<std::string>& words);

}  // namespace ropewalk

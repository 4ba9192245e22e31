// A verb's work that a signal may stop.
#pragma once

#include <functional>
#include <string>

#include "kernels/error.h"
#include "trainer/metrics/progress.h"

namespace ropewalk {

// Runs the work with a status line. If a signal stops it (it calls stop_if_asked(), or waits for input; both throw
// Interrupted), says so, and returns 128 + the signal: a shell's code for a process that a signal has killed.
ExitCode run_stoppable(const std::function<void(StatusLine&)>& work,
                       const std::string& left = "nothing was written");  // what a stopped verb leaves behind

void stop_if_asked();  // throws Interrupted if a signal asked to stop

}  // namespace ropewalk

// A stop asked for by a signal: SIGTERM, SIGINT, SIGUSR1 or SIGUSR2 ask this rank, and with it the job, to save a
// checkpoint after the step that is running, and end. A second SIGTERM or SIGINT ends the process at once.
#pragma once

namespace ropewalk {

// While it lives, the signals are caught. One at a time in a process, because signals are the process's.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  static bool requested();
};

}  // namespace ropewalk

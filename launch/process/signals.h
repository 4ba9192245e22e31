// A stop asked for by a signal: SIGTERM, SIGINT, SIGHUP, SIGUSR1 or SIGUSR2. A training rank, and with it the job, then
// saves a checkpoint after the step that is running, and ends; `prepare` takes back what it has written.
#pragma once

namespace ropewalk {

// While it lives, the signals are caught, but for a SIGHUP or SIGINT that was ignored (nohup; what a script starts in
// the background); and SIGPIPE is ignored, so that who closes our output does not end our work. One at a time in a
// process, because signals are the process's.
class StopSignals {
 public:
  enum class Waits {
    kGoOn,         // a system call that waits is not broken; a second SIGTERM or SIGINT ends the process at once
    kInterrupted,  // a wait for input ends (trainer/files/input_file.h, Interrupted)
  };
  explicit StopSignals(Waits waits = Waits::kGoOn);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  static bool requested();
  static int signal();  // the last that came; 0: none
};

}  // namespace ropewalk

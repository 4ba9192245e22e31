// Stop requests by signal: SIGTERM, SIGINT, SIGHUP, SIGUSR1 or SIGUSR2. When any rank of a training job receives one,
// the job saves a checkpoint after the current step and ends; `prepare` removes what it has written. UnfinishedFiles
// (unfinished_files.h) are removed at once.
#pragma once

namespace ropewalk {

// Catches these signals while it lives. A SIGHUP or SIGINT that was ignored before stays ignored: nohup ignores SIGHUP,
// and a script ignores SIGINT in its background jobs. SIGPIPE is ignored, so that the run continues when the reader of
// its output is gone. Only one object may exist at a time, because signal handlers belong to the process.
class StopSignals {
 public:
  enum class Waits {
    kGoOn,  // blocking system calls are restarted (SA_RESTART); a second SIGTERM or SIGINT ends the process at once
    kInterrupted,  // a signal ends a wait for input (Interrupted, trainer/files/input_file.h)
  };
  explicit StopSignals(Waits waits = Waits::kGoOn);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  static bool requested();
  static int signal();  // the last one received; 0: none
};

}  // namespace ropewalk

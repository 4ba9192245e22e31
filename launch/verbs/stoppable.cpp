#include "launch/verbs/stoppable.h"

#include <iostream>

#include "launch/process/process.h"
#include "launch/process/signals.h"
#include "trainer/files/input_file.h"

namespace ropewalk {

ExitCode run_stoppable(const std::function<void(StatusLine&)>& work, const std::string& left) {
  const StopSignals signals(StopSignals::Waits::kInterrupted);
  StatusLine line(std::cerr, Terminal::of_stderr());
  try {
    work(line);
    return ExitCode::kDone;
  } catch (const Interrupted&) {
    line.clear();
    say("stopped by a signal; " + left);
    return static_cast<ExitCode>(128 + StopSignals::signal());
  }
}

void stop_if_asked() {
  if (StopSignals::requested()) throw Interrupted();
}

}  // namespace ropewalk

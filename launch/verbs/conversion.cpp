#include "launch/verbs/conversion.h"

#include <iostream>
#include <optional>

#include "launch/process/output.h"
#include "launch/process/process.h"
#include "launch/process/signals.h"
#include "trainer/files/input_file.h"
#include "trainer/metrics/progress.h"

namespace ropewalk {

ExitCode convert(const std::string& what, const std::function<Converted(const BytesDone&)>& conversion) {
  const StopSignals signals(StopSignals::Waits::kInterrupted);
  StatusLine line(std::cerr, Terminal::of_stderr());
  std::optional<WorkProgress> progress;  // created by the first report, which has the total
  try {
    const Converted converted = conversion([&](int64_t done, int64_t total) {
      if (StopSignals::requested()) throw Interrupted();
      if (!progress) progress.emplace(line, what, static_cast<double>(total), bytes_text);
      progress->at(static_cast<double>(done));
    });
    line.clear();
    if (!converted.durable)
      line.print("warning: this file system cannot make the names of files durable (fsync of a directory)");
    print(converted.summary);
    return ExitCode::kDone;
  } catch (const Interrupted&) {
    line.clear();
    say("stopped by a signal; nothing was written");
    return static_cast<ExitCode>(128 + StopSignals::signal());  // a shell's code for a process killed by a signal
  }
}

}  // namespace ropewalk

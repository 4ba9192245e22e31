#include "launch/verbs/conversion.h"

#include <optional>

#include "launch/process/output.h"
#include "launch/verbs/stoppable.h"

namespace ropewalk {

ExitCode convert(const std::string& what, const std::function<Converted(const BytesDone&)>& conversion) {
  return run_stoppable([&](StatusLine& line) {
    std::optional<WorkProgress> progress;  // created by the first report, which has the total
    const Converted converted = conversion([&](int64_t done, int64_t total) {
      stop_if_asked();
      if (!progress) progress.emplace(line, what, static_cast<double>(total), bytes_text);
      progress->at(static_cast<double>(done));
    });
    line.clear();
    if (!converted.durable)
      line.print("warning: this file system cannot make the names of files durable (fsync of a directory)");
    print(converted.summary);
  });
}

}  // namespace ropewalk

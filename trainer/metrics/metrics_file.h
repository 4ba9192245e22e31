// metrics.jsonl: a line a step, as json_line() makes it, that outlives restarts, power cuts and full disks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "trainer/files/append_file.h"
#include "trainer/metrics/metrics.h"

namespace ropewalk {

class MetricsFile {
 public:
  // Goes on after step `resumed_step`, 0: a run from its start. tell: hears what was done with the lines that were
  // there.
  MetricsFile(std::filesystem::path path, int64_t resumed_step, std::function<void(const std::string&)> tell,
              FileSystem& system = real_file_system());

  // Brings the file that is there into order, once. Lines of later steps, which an interrupted run left behind, and a
  // half-written last line are cut off. Where there is a line that is none of ours, a new file gets the good ones. A
  // file with such lines, or of a run that starts anew where there was another one, is kept as PATH.1, PATH.2, ...
  // Tells the damage, and the steps that are missing. Throws FileError; the next call tries again.
  void start();

  void add(const StepMetrics& metrics);  // to what waits
  // Writes whole lines, visible to readers at once, or durable. Throw FileError; then the file ends with a whole line,
  // and the others wait.
  void flush();
  void sync();
  int64_t lost() const { return file_.lost(); }  // lines that have waited for too long
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  void go_on();

  int64_t resumed_step_;
  std::function<void(const std::string&)> tell_;
  FileSystem& system_;
  bool started_ = false;
  AppendFile file_;
};

}  // namespace ropewalk

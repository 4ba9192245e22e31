// metrics.jsonl: one json_line() per step. The file survives restarts, power cuts and full disks.
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
  // Continues after step `resumed_step`; 0: a run from its start. tell: called with messages about what was done with
  // an existing file.
  MetricsFile(std::filesystem::path path, int64_t resumed_step, std::function<void(const std::string&)> tell,
              FileSystem& system = real_file_system());

  // Repairs an existing file, once. A resumed run cuts off the lines of later steps, which an interrupted run has left,
  // and a half-written last line. If a line is damaged, or lines repeat a step, the valid lines (the later one of each
  // step) go to a new file, and the old file is kept as PATH.1 (or .2, ...). A run from its start keeps an existing
  // file in the same way. Reports damaged lines and missing steps through `tell`. Throws FileError; the next call then
  // tries again.
  void start();

  void add(const StepMetrics& metrics);  // buffers the step's line
  // flush() writes the buffered lines, which readers then see; sync() also fsyncs them. Both call start() first. They
  // throw FileError; unwritten lines then stay buffered, and a half-written one is cut off at once or by the next call.
  void flush();
  void sync();
  int64_t lost() const { return file_.lost(); }  // lines that were dropped because the buffer was full
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

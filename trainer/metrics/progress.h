// The progress output of a long job. On a terminal: one status line, redrawn in place, below everything else that is
// printed. In a file or a pipe: plain lines at intervals, without carriage returns or escape codes.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/clock.h"
#include "trainer/metrics/metrics.h"
#include "trainer/text/format.h"

namespace ropewalk {

// What the output can show.
struct Terminal {
  bool redraws = false;  // a status line can be redrawn in place
  bool colours = false;
  std::function<int()> columns = [] { return 80; };  // called at every redraw, because windows change size

  // redraws: stderr is a terminal (or a pipe to mpirun, whose own stderr is a terminal), TERM is set and not "dumb",
  // and CI is not set. colours: NO_COLOR is not set either.
  static Terminal of_stderr();
};

// A status line and the lines above it. Use from one thread.
class StatusLine {
 public:
  StatusLine(std::ostream& out, Terminal terminal, Clock clock = steady_seconds);
  ~StatusLine();  // clears the status line
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  bool redraws() const { return terminal_.redraws; }
  // Shows as many of the parts as fit, the first of them coloured, and redraws at most ten times a second. Does nothing
  // unless redraws().
  void show(std::vector<std::string> parts);
  void print(std::string_view text);  // prints printable_text(text) as a line above the status line
  void clear();

 private:
  void draw();

  std::ostream& out_;
  Terminal terminal_;
  Clock clock_;
  std::vector<std::string> parts_;
  bool drawn_ = false;
  double drawn_at_ = 0;
};

// Training: a status line after each step, or a plain line every `log_interval` steps and after the first and the last.
class StepProgress {
 public:
  StepProgress(StatusLine& line, int64_t log_interval) : line_(line), log_interval_(log_interval) {}
  void step(const StepMetrics& metrics);

 private:
  StatusLine& line_;
  int64_t log_interval_;
  bool printed_ = false;
};

// A job with a known amount of work (bytes to read, tokens to write): a status line, or a plain line every ten seconds.
class WorkProgress {
 public:
  // what: "tokenising". amount_text: formats an amount, e.g. bytes_text.
  WorkProgress(StatusLine& line, std::string what, double total, std::function<std::string(double)> amount_text,
               Clock clock = steady_seconds);
  void at(double done);  // the amount done so far
  void done();           // prints the summary

 private:
  StatusLine& line_;
  std::string what_;
  double total_;
  std::function<std::string(double)> amount_text_;
  Clock clock_;
  double started_, printed_;
};

}  // namespace ropewalk

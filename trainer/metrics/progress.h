// What a person sees of a long job. On a terminal: one status line, drawn again in place, below whatever else is
// printed. In a file or a pipe: plain lines at intervals, without carriage returns or escape codes.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>

#include "trainer/metrics/clock.h"
#include "trainer/metrics/metrics.h"

namespace ropewalk {

std::string duration_text(double seconds);  // "8.2 s", "3 m 05 s", "2 h 07 m", "4 d 03 h"; "?" where it is not known
std::string count_text(double count);       // "999", "1.2 k", "34.5 M", "1.1 B"
std::string bytes_text(double bytes);       // "512 B", "1.5 KiB", "2.0 GiB"
std::string bar_text(double fraction, int width);  // "[====>     ]", `width` characters in all

// Where the output goes, and what it can show.
struct Terminal {
  bool redraws = false;  // a status line may be drawn again in place
  bool colours = false;
  std::function<int()> columns = [] { return 80; };  // asked at every drawing: windows change size

  // Redraws if stderr is a terminal, TERM is not "dumb" and CI is not set; colours if NO_COLOR is not set either.
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
  // On a terminal: shows `text`, cut to its width, as the status line, at most ten times a second. The first `bright`
  // characters are coloured. Elsewhere: nothing.
  void show(std::string_view text, int bright = 0);
  void print(std::string_view text);  // a line that stays, above the status line
  void clear();

 private:
  void draw();

  std::ostream& out_;
  Terminal terminal_;
  Clock clock_;
  std::string status_;
  int bright_ = 0;
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
};

// A job with a known amount of work (bytes to read, tokens to write): a status line, or a plain line every ten seconds.
class WorkProgress {
 public:
  // amount_text turns amounts into text, e.g. bytes_text. what: "tokenising".
  WorkProgress(StatusLine& line, std::string what, double total, std::function<std::string(double)> amount_text,
               Clock clock = steady_seconds);
  void at(double done);  // the amount done so far
  void done();           // prints the summary

 private:
  std::string text(double done) const;

  StatusLine& line_;
  std::string what_;
  double total_;
  std::function<std::string(double)> amount_text_;
  Clock clock_;
  double started_, printed_;
};

// Text of unknown origin made safe to print: control characters other than newline and tab, and bytes that are not
// UTF-8, become U+FFFD.
std::string printable_text(std::string_view text);

}  // namespace ropewalk

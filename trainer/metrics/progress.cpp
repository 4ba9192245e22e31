#include "trainer/metrics/progress.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ostream>
#include <string>

#include "kernels/error.h"

namespace ropewalk {
namespace {

constexpr double kSecondsBetweenDrawings = 0.1, kSecondsBetweenLines = 10;
constexpr int kBarWidth = 16;
constexpr std::string_view kColour = "\x1b[36m", kPlain = "\x1b[0m", kClearLine = "\r\x1b[K";

// The number of characters of valid UTF-8: the columns on a terminal, except for wide and combining characters.
size_t characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string first_characters(std::string_view text, size_t count) {
  size_t end = 0;
  for (size_t seen = 0; end < text.size(); ++end) {
    if ((text[end] & 0xc0) != 0x80 && seen++ == count) break;
  }
  return std::string(text.substr(0, end));
}

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value && *value;
}

// The terminal on which stderr appears, or -1. mpirun gives its ranks pipes. It is the parent of the ranks on its own
// host; the parent of ranks on other hosts is a daemon without a terminal.
int terminal_behind_stderr() {
  if (isatty(STDERR_FILENO)) return STDERR_FILENO;
  if (!is_set("OMPI_COMM_WORLD_RANK")) return -1;
  const std::string of_parent = "/proc/" + std::to_string(getppid()) + "/fd/2";
  const int file = open(of_parent.c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0 || isatty(file)) return file;
  close(file);
  return -1;
}

int columns_of(int terminal) {
  winsize size{};
  return ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Terminal Terminal::of_stderr() {
  const char* kind = std::getenv("TERM");
  const bool capable = kind && *kind && std::string_view(kind) != "dumb";
  Terminal terminal;
  static const int behind = terminal_behind_stderr();  // stays open, so that columns() can query its size
  terminal.redraws = behind >= 0 && capable && !is_set("CI");
  terminal.colours = terminal.redraws && !is_set("NO_COLOR");
  terminal.columns = [] { return columns_of(behind); };
  return terminal;
}

StatusLine::StatusLine(std::ostream& out, Terminal terminal, Clock clock)
    : out_(out), terminal_(std::move(terminal)), clock_(std::move(clock)) {}

StatusLine::~StatusLine() { clear(); }

void StatusLine::show(std::vector<std::string> parts) {
  if (!terminal_.redraws) return;
  parts_ = std::move(parts);
  if (!drawn_ || clock_() - drawn_at_ >= kSecondsBetweenDrawings) draw();
}

void StatusLine::draw() {
  // A line that fills the last column would wrap on some terminals.
  size_t room = static_cast<size_t>(std::max(terminal_.columns() - 1, 1));
  std::string line;
  for (const std::string& part : parts_) {
    const bool first = line.empty();
    const std::string text = (first ? "" : "  ") + printable_text(part);
    if (!first && characters(text) > room) break;
    const std::string fitting = first_characters(text, room);
    room -= characters(fitting);
    line += first && terminal_.colours ? fmt::format("{}{}{}", kColour, fitting, kPlain) : fitting;
  }
  out_ << kClearLine << line << std::flush;
  drawn_ = true;
  drawn_at_ = clock_();
}

void StatusLine::print(std::string_view text) {
  const bool redraw = drawn_;
  clear();
  out_ << printable_text(text) << '\n';
  if (redraw) draw();
  out_ << std::flush;
}

void StatusLine::clear() {
  if (drawn_) out_ << kClearLine << std::flush;
  drawn_ = false;
}

void StepProgress::step(const StepMetrics& metrics) {
  const std::string position = fmt::format("{}/{}", metrics.step, metrics.total_steps);
  const std::string left = duration_text(metrics.seconds_remaining) + " left";
  std::string rate = count_text(metrics.tokens_per_second) + " tokens/s";
  if (metrics.model_flops_utilization) rate += fmt::format("  MFU {:.3f}", *metrics.model_flops_utilization);
  const std::string loss = metrics.loss ? fmt::format("loss {:.4f}", *metrics.loss) : "no targets";
  const std::string norm = fmt::format("gradient norm {:.3g}", metrics.gradient_norm);
  const std::string learning = fmt::format("learning rate {:.2e}", metrics.learning_rate);
  const double fraction =
      static_cast<double>(metrics.step) / static_cast<double>(std::max<int64_t>(metrics.total_steps, 1));
  line_.show({bar_text(fraction, kBarWidth), position, loss, left, rate, norm, learning});
  const bool last = metrics.step == metrics.total_steps;
  const bool due = !line_.redraws() && (!printed_ || metrics.step % log_interval_ == 0);
  if (due || last) {
    line_.print(fmt::format("step {}  {}  {}  {}  {}  {}", position, loss, norm, learning, rate, left));
    printed_ = true;
  }
  if (metrics.validation) {
    const ValidationMetrics& validation = *metrics.validation;
    std::string text = fmt::format("step {}  validation{}", position,
                                   validation.loss ? fmt::format(" loss {:.4f}", *validation.loss) : ": no targets");
    if (validation.loss && validation.loss_by_position.size() > 1) {
      text += "  by position";
      for (const std::optional<double>& mean : validation.loss_by_position)
        text += mean ? fmt::format(" {:.4f}", *mean) : " none";
    }
    line_.print(text);
  }
}

WorkProgress::WorkProgress(StatusLine& line, std::string what, double total,
                           std::function<std::string(double)> amount_text, Clock clock)
    : line_(line),
      what_(std::move(what)),
      total_(total),
      amount_text_(std::move(amount_text)),
      clock_(std::move(clock)),
      started_(clock_()),
      printed_(started_) {}

void WorkProgress::at(double done) {
  const double now = clock_(), seconds = now - started_;
  const double fraction = total_ > 0 ? done / total_ : 1;
  const std::string amount = fmt::format("{} of {}", amount_text_(done), amount_text_(total_));
  const std::string left = duration_text(done > 0 ? seconds * (total_ - done) / done : INFINITY) + " left";
  line_.show({bar_text(fraction, kBarWidth), what_, amount, left});
  if (!line_.redraws() && now - printed_ >= kSecondsBetweenLines) {
    line_.print(fmt::format("{}  {}  {}", what_, amount, left));
    printed_ = now;
  }
}

void WorkProgress::done() {
  line_.clear();
  line_.print(fmt::format("{}  {} in {}", what_, amount_text_(total_), duration_text(clock_() - started_)));
}

}  // namespace ropewalk

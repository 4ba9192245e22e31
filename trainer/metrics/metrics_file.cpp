#include "trainer/metrics/metrics_file.h"

#include <fcntl.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/files/input_file.h"
#include "trainer/files/output_file.h"

namespace ropewalk {
namespace {

constexpr int64_t kLongestLine = 1 << 20;  // bytes; lines of a run have less than a thousand
constexpr int64_t kBlock = 4 << 20;        // bytes per read; more than a longest line
constexpr size_t kMostRanges = 5;          // of lines or steps, that a message lists

// The step of a line; nullopt if the line is damaged.
std::optional<int64_t> step_of(std::string_view line) {
  const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("step") || !object["step"].is_number_integer()) return std::nullopt;
  return object["step"].get<int64_t>();
}

struct Range {
  int64_t first, last;
};

void extend(std::vector<Range>& ranges, int64_t number) {
  if (!ranges.empty() && ranges.back().last + 1 == number) {
    ranges.back().last = number;
  } else {
    ranges.push_back({number, number});
  }
}

// "17", "17-20, 31 and 3 other ranges"
std::string text_of(const std::vector<Range>& ranges) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < std::min(ranges.size(), kMostRanges); ++i) {
    const auto [first, last] = ranges[i];
    parts.push_back(first == last ? std::to_string(first) : fmt::format("{}-{}", first, last));
  }
  const size_t rest = ranges.size() - parts.size();
  return fmt::format("{}{}", fmt::join(parts, ", "), rest > 0 ? fmt::format(" and {} other ranges", rest) : "");
}

struct Line {
  int64_t step, begin, end;  // bytes, with its newline
};

// The contents of a file up to the resumed step.
struct Found {
  std::vector<Line> kept;      // in increasing order of steps
  std::vector<Range> damaged;  // numbers of damaged lines
  bool whole = true;           // the kept lines are the beginning of the file
  int64_t end() const { return kept.empty() ? 0 : kept.back().end; }
};

class Scan {
 public:
  Scan(const InputFile& file, int64_t resumed_step) : file_(file), resumed_step_(resumed_step) {}

  Found run() {
    std::string buffer;
    int64_t begin = 0;  // offset in the file of the buffer's first byte, where a line begins
    bool too_long = false;
    for (int64_t read = 0; read < file_.size();) {
      const int64_t count = std::min(kBlock, file_.size() - read);
      const size_t seen = buffer.size();
      buffer.resize(seen + static_cast<size_t>(count));
      file_.read(read, buffer.data() + seen, static_cast<size_t>(count));
      read += count;
      size_t at = 0;
      for (size_t end; (end = buffer.find('\n', at)) != std::string::npos; at = end + 1) {
        take(too_long ? "" : std::string_view(buffer).substr(at, end - at), begin + static_cast<int64_t>(at),
             begin + static_cast<int64_t>(end) + 1);
        too_long = false;
      }
      begin += static_cast<int64_t>(at);
      buffer.erase(0, at);
      if (static_cast<int64_t>(buffer.size()) <= kLongestLine) continue;
      too_long = true;
      begin += static_cast<int64_t>(buffer.size());
      buffer.clear();
    }
    // A last line without a newline: if it is the beginning of a valid one it is cut off, else it counts as damage.
    if (too_long || (!buffer.empty() && !buffer.starts_with(std::string_view(kHead).substr(0, buffer.size()))))
      extend(found_.damaged, number_);
    return std::move(found_);
  }

 private:
  static constexpr const char* kHead = "{\"step\":";

  void take(std::string_view line, int64_t begin, int64_t end) {
    const std::optional<int64_t> step = step_of(line);
    if (!step) {
      extend(found_.damaged, number_);
    } else if (*step <= resumed_step_) {
      // The step was repeated after a resume: its later line counts.
      while (!found_.kept.empty() && found_.kept.back().step >= *step) found_.kept.pop_back();
      found_.whole = found_.whole && begin == found_.end();
      found_.kept.push_back({*step, begin, end});
    }
    ++number_;
  }

  const InputFile& file_;
  int64_t resumed_step_, number_ = 1;
  Found found_;
};

void write_kept(const InputFile& from, const Found& found, OutputFile& out) {
  std::string line;
  for (const Line& kept : found.kept) {
    line.resize(static_cast<size_t>(kept.end - kept.begin));
    from.read(kept.begin, line.data(), line.size());
    out.write(line);
  }
}

// The steps without a line, from the first line's step to the resumed one.
std::vector<Range> gaps_in(const std::vector<Line>& lines, int64_t resumed_step) {
  std::vector<Range> gaps;
  int64_t next = lines.empty() ? 1 : lines.front().step;
  for (const Line& line : lines) {
    if (line.step > next) gaps.push_back({next, line.step - 1});
    next = line.step + 1;
  }
  if (next <= resumed_step) gaps.push_back({next, resumed_step});
  return gaps;
}

}  // namespace

MetricsFile::MetricsFile(std::filesystem::path path, int64_t resumed_step, std::function<void(const std::string&)> tell,
                         FileSystem& system)
    : resumed_step_(resumed_step), tell_(std::move(tell)), system_(system), file_(std::move(path), system) {}

void MetricsFile::start() {
  if (started_) return;
  const PathKind kind = kind_of(path());
  if (kind == PathKind::kDirectory || kind == PathKind::kOther)
    throw FileError(0, fmt::format("cannot write {}: it is not a regular file; move it away", path().string()));
  if (resumed_step_ > 0) {
    go_on();
  } else if (kind == PathKind::kFile && InputFile(system_, path()).size() > 0) {
    tell_(fmt::format("the metrics of an earlier run are kept as {}", keep_aside(system_, path()).string()));
  }
  started_ = true;
}

void MetricsFile::go_on() {
  // A start that was killed between the two renames below has left all valid lines under the temporary name.
  if (kind_of(path()) == PathKind::kNone && kind_of(beside(path())) == PathKind::kFile)
    rename_durably(system_, beside(path()), path());
  Found found;
  if (kind_of(path()) == PathKind::kFile) {
    const InputFile file(system_, path());
    found = Scan(file, resumed_step_).run();
    if (!found.damaged.empty() || !found.whole) {
      NewFile good(system_, path(), beside(path()), NewFile::Leftover::kRemove);
      write_kept(file, found, good);
      good.close();
      good.stay();  // from here on, if this start is killed, the next start uses the file
      const std::filesystem::path kept = keep_aside(system_, path());
      good.take_name();
      tell_(found.damaged.empty() ? fmt::format("{} had several lines for some steps; it continues with the later "
                                                "ones, and the old file is kept as {}",
                                                path().string(), kept.string())
                                  : fmt::format("warning: {} is damaged (line {}); it continues without these lines, "
                                                "and the old file is kept as {}",
                                                path().string(), text_of(found.damaged), kept.string()));
    } else if (file.size() > found.end()) {
      cut_file(system_, path(), found.end());
    }
  }
  const std::vector<Range> gaps = gaps_in(found.kept, resumed_step_);
  if (!gaps.empty())
    tell_(fmt::format("{} has no lines for step {}, which the checkpoint includes", path().string(), text_of(gaps)));
}

void MetricsFile::add(const StepMetrics& metrics) { file_.add(json_line(metrics) + "\n"); }

void MetricsFile::flush() {
  start();
  file_.flush();
}

void MetricsFile::sync() {
  start();
  file_.sync();
}

}  // namespace ropewalk

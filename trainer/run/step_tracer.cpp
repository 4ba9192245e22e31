#include "trainer/run/step_tracer.h"

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "kernels/clock.h"
#include "parallel/communicator/communicator.h"
#include "parallel/communicator/host_name.h"
#include "trainer/files/input_file.h"
#include "trainer/files/output_file.h"

namespace ropewalk {
namespace {

// The beginning of what Trace::write_json writes.
constexpr std::string_view kTraceMark = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";

bool begins_as_trace(const InputFile& file) {
  std::string beginning(std::min(static_cast<size_t>(file.size()), kTraceMark.size()), '\0');
  file.read(0, beginning.data(), beginning.size());
  return beginning == kTraceMark.substr(0, beginning.size());
}

}  // namespace

StepTracer::StepTracer(const Config& config, Rank rank, int64_t resumed_step)
    : config_(config),
      rank_(rank),
      begin_(resumed_step + config.output.trace_after),
      end_(std::min(begin_ + config.output.trace_steps, config.training.steps)) {}

void StepTracer::before_step(int64_t steps_done) {
  if (!rank_.trace || begin_ >= end_ || steps_done != begin_) return;
  rank_.mesh.world().barrier();  // so that the times of all ranks start at the same moment
  origin_ = steady_seconds();
  rank_.trace->record(true);
}

std::optional<std::string> StepTracer::after_step(int64_t steps_done) {
  if (!rank_.trace || !rank_.trace->recording() || steps_done != end_) return std::nullopt;
  rank_.trace->record(false);
  const std::string text = write();
  rank_.trace->clear();
  return text;
}

std::string StepTracer::write() const {
  const std::filesystem::path directory = std::filesystem::path(config_.output.directory) / "trace";
  Communicator& world = rank_.mesh.world();
  const auto failure = first_failure(world, [&] {
    const std::filesystem::path path = directory / fmt::format("rank-{:05}.json", world.rank());
    std::error_code made_by_another;
    std::filesystem::create_directories(directory, made_by_another);
    FileSystem& files = real_file_system();
    if (kind_of(path) != PathKind::kNone && !begins_as_trace(InputFile(files, path)))
      throw FileError(0, fmt::format("{} is in the way and is not a trace; rename it", path.string()));
    std::ostringstream text;
    rank_.trace->write_json(text, world.rank(), host_name(), origin_);
    replace_file(files, path, text.view());
  });
  if (failure) return fmt::format("warning: no trace: {}", *failure);
  return fmt::format("a trace of each rank is in {}; open them in ui.perfetto.dev", directory.string());
}

}  // namespace ropewalk

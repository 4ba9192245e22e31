#include "trainer/run/starting_point.h"

#include <algorithm>

#include "trainer/checkpoint/checkpoint_directory.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/config/model_text.h"

namespace ropewalk {
namespace {

CheckpointModel read_model(const std::filesystem::path& checkpoint, bool is_start_from) {
  CheckpointModel out{.checkpoint = checkpoint.string(), .is_start_from = is_start_from};
  try {
    const Manifest manifest = read_manifest(real_file_system(), checkpoint);
    // A new run continues with the theta of the stage that the other run had reached. A resumed run has its stages.
    const int64_t steps = is_start_from ? manifest.progress.step : 0;
    out.text =
        model_group_of(manifest.run.config_text, steps, fmt::format("the configuration in {}", checkpoint.string()));
  } catch (const Error& error) {
    out.problem = error.what();
  }
  return out;
}

// The run's own checkpoints, newest first, but those of `step` before all others. Empty also if the directory cannot be
// read; the load reports that.
std::vector<CheckpointPath> own_checkpoints(const std::string& output_directory, std::optional<int64_t> step) {
  if (output_directory.empty()) return {};
  try {
    std::vector<CheckpointPath> out = list_checkpoints(checkpoints_of(output_directory));
    std::ranges::stable_partition(out, [&](const CheckpointPath& checkpoint) { return checkpoint.step == step; });
    return out;
  } catch (const FileError&) {
    return {};
  }
}

// The model of the first checkpoint that can be read; if none can, the problem of the first.
CheckpointModel first_readable(const std::vector<CheckpointPath>& checkpoints) {
  CheckpointModel first;
  for (const CheckpointPath& checkpoint : checkpoints) {
    CheckpointModel model = read_model(checkpoint.path, false);
    if (model.problem.empty()) return model;
    if (first.problem.empty()) first = std::move(model);
  }
  return first;
}

}  // namespace

StartingPoint find_starting_point(std::string_view text, const std::string& name,
                                  std::span<const std::string> overrides, std::optional<int64_t> step) {
  const ConfigOutline outline = outline_of(text, name, overrides);
  const std::vector<CheckpointPath> own =
      step == 0 ? std::vector<CheckpointPath>() : own_checkpoints(outline.output_directory, step);
  StartingPoint out{.step = step.value_or(own.empty() ? 0 : own.front().step)};
  if (!own.empty()) {
    if (!outline.has_whole_model) out.model = first_readable(own);
  } else if (!outline.start_from.empty()) {
    out.model = read_model(outline.start_from, true);
  }
  return out;
}

Config load_config(const std::filesystem::path& file, std::span<const std::string> overrides,
                   std::optional<int> world_size) {
  const std::string text = read_config_file(file), name = file.string();
  return parse_config(text, name, overrides, world_size, 0, find_starting_point(text, name, overrides).model);
}

}  // namespace ropewalk

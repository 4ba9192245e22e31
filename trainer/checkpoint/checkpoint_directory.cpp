#include "trainer/checkpoint/checkpoint_directory.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "trainer/checkpoint/source_files.h"

namespace ropewalk {
namespace {

constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kTemporary = ".tmp";
constexpr std::string_view kReplaced = ".old";
constexpr std::string_view kAside = ".aside";

std::string step_name(int64_t step) { return fmt::format("{}{:08}", kPrefix, step); }

std::filesystem::path replaced_path(const std::filesystem::path& directory, int64_t step) {
  return directory / (step_name(step) + std::string(kReplaced));
}

// A free name step-N.aside, step-N.aside-2, ...
std::filesystem::path aside_path(const std::filesystem::path& directory, int64_t step) {
  const std::string name = step_name(step) + std::string(kAside);
  std::filesystem::path path = directory / name;
  for (int count = 2; kind_of(path) != PathKind::kNone; ++count) path = directory / fmt::format("{}-{}", name, count);
  return path;
}

// N if `name` is exactly "step-N" + suffix.
std::optional<int64_t> step_of(const std::string& name, std::string_view suffix) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int64_t step = -1;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), step);
  if (step < 0 || name != step_name(step) + std::string(suffix)) return std::nullopt;
  return step;
}

// True also for a symbolic link to a directory: a checkpoint of another run may be linked in.
bool leads_to_directory(const std::filesystem::path& path) {
  std::error_code unreadable;
  return std::filesystem::is_directory(path, unreadable);
}

// Removes a directory with its files; of a symbolic link only the link.
void remove_entry(FileSystem& system, const std::filesystem::path& path) {
  if (kind_of(path) != PathKind::kDirectory) return remove_file(system, path);
  remove_source_files(system, path);
  remove_directory(system, path);
}

bool is_replaced(const CheckpointPath& checkpoint) { return checkpoint.path.extension() == kReplaced; }

// Removes temporary directories as far as possible.
void remove_leftovers(FileSystem& system, const std::filesystem::path& directory) {
  for (const std::string& name : list_directory(directory))
    if (const auto leftover = step_of(name, kTemporary)) discard_checkpoint(system, directory, *leftover);
}

// Renames it to the temporary name first, so that a partly removed directory never counts as a checkpoint.
void remove_checkpoint(FileSystem& system, const std::filesystem::path& directory, const CheckpointPath& checkpoint) {
  const std::filesystem::path temporary = temporary_path(directory, checkpoint.step);
  rename_path(system, checkpoint.path, temporary);
  remove_entry(system, temporary);
}

}  // namespace

std::filesystem::path checkpoints_of(const std::filesystem::path& output_directory) {
  return output_directory / "checkpoints";
}

std::vector<CheckpointPath> list_checkpoints(const std::filesystem::path& directory) {
  std::vector<CheckpointPath> checkpoints;
  if (kind_of(directory) == PathKind::kNone) return checkpoints;
  for (const std::string& name : list_directory(directory)) {
    const std::optional<int64_t> step = step_named(name);
    if (step && leads_to_directory(directory / name)) checkpoints.push_back({*step, directory / name});
  }
  std::sort(checkpoints.begin(), checkpoints.end(), [](const CheckpointPath& a, const CheckpointPath& b) {
    return a.step != b.step ? a.step > b.step : is_replaced(a) < is_replaced(b);
  });
  return checkpoints;
}

std::vector<std::string> list_set_aside(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  if (kind_of(directory) == PathKind::kNone) return names;
  for (const std::string& name : list_directory(directory))
    if (name.starts_with(kPrefix) && name.find(kAside) != std::string::npos) names.push_back(name);
  return names;
}

std::vector<std::string> list_strays(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  if (kind_of(directory) == PathKind::kNone) return names;
  for (const std::string& name : list_directory(directory))
    if (step_named(name) && !leads_to_directory(directory / name)) names.push_back(name);
  return names;
}

std::optional<int64_t> step_named(const std::filesystem::path& checkpoint) {
  const std::string name = checkpoint.filename().string();
  const std::optional<int64_t> step = step_of(name, "");
  return step ? step : step_of(name, kReplaced);
}

std::filesystem::path checkpoint_path(const std::filesystem::path& directory, int64_t step) {
  return directory / step_name(step);
}

std::filesystem::path temporary_path(const std::filesystem::path& directory, int64_t step) {
  return directory / (step_name(step) + std::string(kTemporary));
}

void begin_checkpoint(FileSystem& system, const std::filesystem::path& directory, int64_t step) {
  make_directories(system, directory);
  remove_leftovers(system, directory);
  const std::filesystem::path temporary = temporary_path(directory, step);
  // It could not be removed completely: it holds something that no save wrote, such as a directory.
  if (kind_of(temporary) != PathKind::kNone) rename_path(system, temporary, aside_path(directory, step));
  make_directory(system, temporary);
}

void commit_checkpoint(FileSystem& system, const std::filesystem::path& directory, int64_t step) {
  const std::filesystem::path temporary = temporary_path(directory, step);
  const std::filesystem::path target = checkpoint_path(directory, step);
  const std::filesystem::path replaced = replaced_path(directory, step);
  sync_directory(system, temporary);
  const bool replaces = kind_of(target) != PathKind::kNone;
  if (replaces) {
    if (!leads_to_directory(target)) {
      throw CheckpointError(fmt::format("{} is in the way and is not a checkpoint; move it", target.string()));
    }
    // Both exist if a save was interrupted after it had replaced one by the other; the older one can go.
    if (kind_of(replaced) != PathKind::kNone) remove_entry(system, replaced);
    rename_path(system, target, replaced);
  }
  try {
    rename_path(system, temporary, target);
  } catch (const FileError&) {
    if (replaces)
      system.rename(replaced.c_str(), target.c_str());  // if this fails, it still counts under its name step-N.old
    throw;
  }
  sync_directory(system, directory);
}

void discard_checkpoint(FileSystem& system, const std::filesystem::path& directory, int64_t step) {
  try {
    const std::filesystem::path temporary = temporary_path(directory, step);
    if (kind_of(temporary) != PathKind::kNone) remove_entry(system, temporary);
  } catch (const FileError&) {
  }
}

void remove_old_checkpoints(FileSystem& system, const std::filesystem::path& directory, int64_t step, int64_t keep) {
  if (kind_of(directory) == PathKind::kNone) return;
  remove_leftovers(system, directory);
  int64_t kept = 0, kept_step = -1;
  for (const CheckpointPath& checkpoint : list_checkpoints(directory)) {
    if (checkpoint.step > step) continue;
    const bool is_stale = checkpoint.step == kept_step;  // step-N.old, whose replacement step-N is kept
    if (!is_stale && (keep == 0 || kept < keep)) {
      ++kept;
      kept_step = checkpoint.step;
    } else {
      remove_checkpoint(system, directory, checkpoint);
    }
  }
}

void set_aside_later_checkpoints(FileSystem& system, const std::filesystem::path& directory, int64_t step) {
  bool renamed = false;
  for (const CheckpointPath& checkpoint : list_checkpoints(directory)) {
    if (checkpoint.step <= step) continue;
    rename_path(system, checkpoint.path, aside_path(directory, checkpoint.step));
    renamed = true;
  }
  if (renamed) sync_directory(system, directory);
}

}  // namespace ropewalk

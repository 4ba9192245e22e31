// The names in a directory of checkpoints, and the renames by which a checkpoint appears and disappears atomically:
//   step-00001000       a checkpoint
//   step-00001000.tmp   a checkpoint that is being written or removed: never read, removed by the next start or save
//   step-00001000.old   the checkpoint that a new step-00001000 is replacing: it counts until it is removed
//   step-00001000.aside a checkpoint that was set aside when the run went back to an earlier step, or what could not be
//                       removed of a .tmp: never read, never removed
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "trainer/files/file_system.h"

namespace ropewalk {

struct CheckpointPath {
  int64_t step;
  std::filesystem::path path;
};

// Where a run keeps its checkpoints.
std::filesystem::path checkpoints_of(const std::filesystem::path& output_directory);

// The checkpoints, complete or not, newest first; empty if there is no such directory.
std::vector<CheckpointPath> list_checkpoints(const std::filesystem::path& directory);

// The names of the entries that were set aside (step-N.aside).
std::vector<std::string> list_set_aside(const std::filesystem::path& directory);
// The names of entries that are named like a checkpoint but are not directories.
std::vector<std::string> list_strays(const std::filesystem::path& directory);
// N if the last component of the path is step-N or step-N.old.
std::optional<int64_t> step_named(const std::filesystem::path& checkpoint);

std::filesystem::path checkpoint_path(const std::filesystem::path& directory, int64_t step);
std::filesystem::path temporary_path(const std::filesystem::path& directory, int64_t step);

// Makes the directory with its parents (fsynced), removes leftovers as far as possible, and makes an empty directory at
// temporary_path. If something is still there, renames it to step-N.aside first.
void begin_checkpoint(FileSystem& system, const std::filesystem::path& directory, int64_t step);
// Renames temporary_path to checkpoint_path, and fsyncs. If it is interrupted at any point, the old or the new
// checkpoint exists under a name that list_checkpoints finds.
void commit_checkpoint(FileSystem& system, const std::filesystem::path& directory, int64_t step);
// Removes temporary_path as far as possible; the next save tries again.
void discard_checkpoint(FileSystem& system, const std::filesystem::path& directory, int64_t step);
// Removes the checkpoints of steps up to `step` except the newest `keep` of them (keep == 0: removes none), and
// leftovers as far as possible.
void remove_old_checkpoints(FileSystem& system, const std::filesystem::path& directory, int64_t step, int64_t keep);

// Renames the checkpoints of steps after `step` to step-N.aside, and fsyncs, so that they no longer count.
void set_aside_later_checkpoints(FileSystem& system, const std::filesystem::path& directory, int64_t step);

}  // namespace ropewalk

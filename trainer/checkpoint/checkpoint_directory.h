// The names in a directory of checkpoints, and the renames that make a checkpoint appear and disappear as a whole:
//   step-00001000       a checkpoint
//   step-00001000.tmp   one being written, or being removed: never read, removed by the next start or save
//   step-00001000.old   what step-00001000 was before it was replaced: a checkpoint, until it is removed
//   step-00001000.aside what a run left that went back to an earlier step, or what could not be removed of a .tmp:
//                       never read, never removed
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "trainer/files/file_io.h"

namespace ropewalk {

struct CheckpointPath {
  int64_t step;
  std::filesystem::path path;
};

// Where a run keeps its checkpoints.
std::filesystem::path checkpoints_of(const std::filesystem::path& output_directory);

// The checkpoints, whole or not, newest first; none if there is no such directory.
std::vector<CheckpointPath> list_checkpoints(const std::filesystem::path& directory);

// The step of the newest one, whole or not; 0 if there is none, or the directory cannot be read.
int64_t newest_step(const std::filesystem::path& directory);
// The names of what was set aside, and of what is called as a checkpoint and is no directory.
std::vector<std::string> list_set_aside(const std::filesystem::path& directory);
std::vector<std::string> list_strays(const std::filesystem::path& directory);
// The step that the path of a checkpoint names, if it has such a name.
std::optional<int64_t> step_named(const std::filesystem::path& checkpoint);

std::filesystem::path checkpoint_path(const std::filesystem::path& directory, int64_t step);
std::filesystem::path temporary_path(const std::filesystem::path& directory, int64_t step);

// Makes the directory durably, with its parents, removes leftovers as far as possible, and makes an empty
// temporary_path; what is left there of one is set aside.
void begin_checkpoint(FileSystem& system, const std::filesystem::path& directory, int64_t step);
// Lets temporary_path become checkpoint_path, durably. Whenever it ends early, the old or the new one is there under a
// name that list_checkpoints knows.
void commit_checkpoint(FileSystem& system, const std::filesystem::path& directory, int64_t step);
// Removes temporary_path as far as possible; the next save tries again.
void discard_checkpoint(FileSystem& system, const std::filesystem::path& directory, int64_t step);
// Of the checkpoints up to `step`, removes all but the newest `keep` (0: removes none), and leftovers as far as
// possible.
void remove_old_checkpoints(FileSystem& system, const std::filesystem::path& directory, int64_t step, int64_t keep);

// Renames the checkpoints of steps after `step`, durably, so that they no longer count.
void set_aside_later_checkpoints(FileSystem& system, const std::filesystem::path& directory, int64_t step);

}  // namespace ropewalk

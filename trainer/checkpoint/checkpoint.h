// Saves and loads the state of training. A checkpoint is a directory that is either complete or absent: it is written
// under a temporary name, fsynced, and renamed. Any mesh can load what any other mesh wrote. trainer/README.md
// describes the format and the protocol. All functions here are collective over mesh.world().
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "parallel/mesh.h"
#include "trainer/checkpoint/checkpoint_directory.h"
#include "trainer/checkpoint/state.h"
#include "trainer/files/file_system.h"

namespace ropewalk {

// Writes directory/step-N, N = progress.step, in place of an existing checkpoint of that step. If any rank fails, all
// ranks throw the same CheckpointError, and the older checkpoints stay.
void save_checkpoint(const std::filesystem::path& directory, const TrainingProgress& progress,
                     std::span<const StateTensor> tensors, const RunDescription& run, Mesh& mesh, Kernels& kernels,
                     FileSystem& files = real_file_system());

// Of the checkpoints whose step is at most `step`, keeps the newest `keep` and removes the rest; keep == 0 removes
// none. Checkpoints of later steps stay. Also removes what an interrupted save or removal has left. Throws
// CheckpointError on all ranks if a checkpoint cannot be removed.
void remove_old_checkpoints(const std::filesystem::path& directory, int64_t step, int64_t keep, Mesh& mesh,
                            FileSystem& files = real_file_system());

// For a run that goes back to `step` (0: its start): renames the checkpoints of later steps to step-N.aside, so that no
// later start resumes from them. Throws CheckpointError on all ranks if one cannot be renamed.
void set_aside_later_checkpoints(const std::filesystem::path& directory, int64_t step, Mesh& mesh,
                                 FileSystem& files = real_file_system());

struct LoadedCheckpoint {
  std::filesystem::path path;
  TrainingProgress progress;
  MeshShape mesh;      // of the run that wrote it
  RunDescription run;  // likewise
};

// Fills `into` from the newest complete checkpoint. Saved values, fp32 or fp64, are converted to the type of each
// tensor of `into`. An incomplete or corrupt checkpoint is refused, with a line to `warn` on every rank, and the next
// older one is tried. Returns nullopt if there is no checkpoint. Throws on all ranks: CheckpointError if there are
// checkpoints but none is complete, or one has another format version; ConfigurationError if a checkpoint belongs to
// another model. After an exception the contents of `into` are undefined.
std::optional<LoadedCheckpoint> load_newest_checkpoint(const std::filesystem::path& directory,
                                                       std::span<const StateTensor> into, Mesh& mesh, Kernels& kernels,
                                                       const std::function<void(const std::string&)>& warn,
                                                       FileSystem& files = real_file_system());

// Returns the path of the checkpoint of `step`. If there is none, throws CheckpointError on all ranks; the message
// lists the existing checkpoints.
std::filesystem::path find_checkpoint(const std::filesystem::path& directory, int64_t step, Mesh& mesh);

// Fills `into` from the checkpoint at this path. Throws as load_newest_checkpoint(); also CheckpointError if the
// directory is named step-N and the manifest says another step. The tensors form two groups by name, "model..." and
// "optimizer...". This and load_newest_checkpoint() skip a group of which no rank's `into` has a tensor. In a group
// that they load, a saved tensor that no rank has is an error (another model).
LoadedCheckpoint load_checkpoint(const std::filesystem::path& checkpoint, std::span<const StateTensor> into, Mesh& mesh,
                                 Kernels& kernels, FileSystem& files = real_file_system());

}  // namespace ropewalk

// Saving and loading the state of training. A checkpoint is a directory that is either whole or not there: it is
// written under another name, made durable, and renamed. Whatever mesh wrote it, any mesh can load it. README.md has
// the format and the protocol.
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

// Collective over mesh.world(), like everything here. Writes
// directory/step-N, N = progress.step, replacing one that is there. When any rank fails all throw the same
// CheckpointError, and the older checkpoints are as they were.
void save_checkpoint(const std::filesystem::path& directory, const TrainingProgress& progress,
                     std::span<const StateTensor> tensors, const RunDescription& run, Mesh& mesh, Kernels& kernels,
                     FileSystem& files = real_file_system());

// Removes all but the newest `keep` checkpoints of steps up to `step` (0: removes none); newer ones are let alone. What
// an interrupted save or removal has left goes too.
// Throws CheckpointError on all ranks when one cannot be removed.
void remove_old_checkpoints(const std::filesystem::path& directory, int64_t step, int64_t keep, Mesh& mesh,
                            FileSystem& files = real_file_system());

// For a run that goes back to `step` (0: its start): the checkpoints of later steps are renamed to step-N.aside and no
// longer count, so that a resume does not go on from what was given up. Throws CheckpointError on all ranks.
void set_aside_later_checkpoints(const std::filesystem::path& directory, int64_t step, Mesh& mesh,
                                 FileSystem& files = real_file_system());

struct LoadedCheckpoint {
  std::filesystem::path path;
  TrainingProgress progress;
  MeshShape mesh;      // that wrote it
  RunDescription run;  // likewise
};

// Fills `into` from the newest checkpoint that is whole; values are converted where fp32 was saved and fp64 is wanted,
// or the other way round. A checkpoint that is incomplete or corrupted is refused, with a line to `warn` on every rank,
// and the next older one is tried; what `into` holds after an error is not defined. nullopt: there is no checkpoint.
// Throws on all ranks: CheckpointError where there are checkpoints but none is whole, ConfigurationError where the
// newest whole one is of another model.
std::optional<LoadedCheckpoint> load_newest_checkpoint(const std::filesystem::path& directory,
                                                       std::span<const StateTensor> into, Mesh& mesh, Kernels& kernels,
                                                       const std::function<void(const std::string&)>& warn,
                                                       FileSystem& files = real_file_system());

// The checkpoint of that step. Throws CheckpointError on all ranks, with those that there are, where it is not there.
std::filesystem::path find_checkpoint(const std::filesystem::path& directory, int64_t step, Mesh& mesh);

// The same as the above from one checkpoint, by its own path (directory/step-N), which must be of that step. Tensors
// that nobody wants are left out by groups: without any tensor "optimizer..." in `into` the saved ones are not read.
LoadedCheckpoint load_checkpoint(const std::filesystem::path& checkpoint, std::span<const StateTensor> into, Mesh& mesh,
                                 Kernels& kernels, FileSystem& files = real_file_system());

}  // namespace ropewalk

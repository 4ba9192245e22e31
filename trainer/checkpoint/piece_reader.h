// Reads the pieces of a checkpoint, from any mesh, into the tensors of this rank that they overlap.
#pragma once

#include <filesystem>
#include <span>

#include "kernels/kernels.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/state.h"
#include "trainer/files/input_file.h"

namespace ropewalk {

// Fills the tensors of `into`, which the manifest must contain and cover. Reads every piece that overlaps any of these
// tensors, each once, file by file, and verifies the checksums of the file's header and of the piece. Throws
// CheckpointError naming file and tensor; `into` is then partly overwritten.
void read_pieces(FileSystem& files, const std::filesystem::path& checkpoint, const Manifest& manifest,
                 std::span<const StateTensor> into, Kernels& kernels);

}  // namespace ropewalk

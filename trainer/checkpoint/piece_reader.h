// Brings the pieces of a checkpoint to the tensors of this rank that they overlap, whatever mesh cut them.
#pragma once

#include <filesystem>
#include <span>

#include "kernels/kernels.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/state.h"
#include "trainer/files/input_file.h"

namespace ropewalk {

// Every tensor of `into` is in the manifest, which covers it. Each piece of which anything is wanted is read once, in
// file order, and its checksum verified; before, that of its file's header. Throws CheckpointError naming file and
// tensor; `into` then holds a mixture.
void read_pieces(FileSystem& files, const std::filesystem::path& checkpoint, const Manifest& manifest,
                 std::span<const StateTensor> into, Kernels& kernels);

}  // namespace ropewalk

// The files of a Hugging Face model that a checkpoint carries along, in its folder huggingface (SourceFile).
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/state.h"
#include "trainer/files/file_system.h"

namespace ropewalk {

inline constexpr const char* kSourceFolder = "huggingface";

// Writes and fsyncs the files into `root`, with the folders that they need. Does not fsync `root` itself.
void write_files(FileSystem& system, const std::filesystem::path& root, std::span<const SourceFile> files);

// Writes and fsyncs the files, with the folders that they need, into the new checkpoint. Returns their entries.
std::vector<ManifestSourceFile> write_source_files(FileSystem& system, const std::filesystem::path& checkpoint,
                                                   std::span<const SourceFile> files);
// Throws CheckpointError or FileError if a file is missing or has changed.
std::vector<SourceFile> read_source_files(FileSystem& system, const std::filesystem::path& checkpoint,
                                          std::span<const ManifestSourceFile> entries);
// Removes them as far as possible; does nothing if the checkpoint has none.
void remove_source_files(FileSystem& system, const std::filesystem::path& checkpoint);

}  // namespace ropewalk

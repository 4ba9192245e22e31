// A checkpoint's manifest as plain structs; configs/manifest.proto describes the file.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/checkpoint/state.h"
#include "trainer/files/file_system.h"

namespace ropewalk {

inline constexpr int kManifestVersion = 1;
inline constexpr const char* kManifestName = "manifest.textproto";

struct ManifestFile {
  std::string name;  // a file name without a path, in the checkpoint's directory
  int64_t bytes;
  uint32_t header_crc32c;
};

struct ManifestPiece {
  int file;          // index into Manifest::files
  std::string name;  // of the tensor in that file
  Box box;
  uint32_t crc32c;
};

struct ManifestTensor {
  std::string name;
  DType dtype;
  Shape shape;
  std::vector<ManifestPiece> pieces;
};

inline constexpr int64_t kLargestSourceFile = 256 << 20;  // bytes of a source file

struct ManifestSourceFile {
  std::string name;
  int64_t bytes;
  uint32_t crc32c;
};

struct Manifest {
  int version = kManifestVersion;
  std::string program;
  TrainingProgress progress;
  MeshShape mesh;
  RunDescription run;
  std::vector<ManifestFile> files;
  std::vector<ManifestTensor> tensors;
  std::vector<ManifestSourceFile> source_files;
};

std::string program_name();  // "ropewalk 0.1.0"

std::string manifest_text(const Manifest& manifest);  // with its checksum

// Throws CheckpointError unless the checksum is right and every part is valid in itself: file names without paths,
// names unique, boxes inside their tensors, indices inside their lists. If the manifest has another version, fills only
// `version`; the caller must check it.
Manifest parse_manifest(std::string_view text);

// The text of the checkpoint's manifest. Throws CheckpointError; if the path leads to something else than a checkpoint,
// such as a Hugging Face model or a run's directory, the message says to what, and what to do.
std::string read_manifest_text(FileSystem& files, const std::filesystem::path& checkpoint);
// Reads and parses it. Throws CheckpointError, also for another version.
Manifest read_manifest(FileSystem& files, const std::filesystem::path& checkpoint);
// Throws CheckpointError unless this program reads the manifest's version.
void check_version(const std::filesystem::path& checkpoint, const Manifest& manifest);

// Adds the files and tensors of `part` to `whole`. Throws CheckpointError if they describe a tensor differently.
void merge_manifest(Manifest& whole, const Manifest& part);

// Throws CheckpointError, naming the tensor and the range, unless every element of every tensor is in exactly one
// piece.
void check_covered(const Manifest& manifest);

}  // namespace ropewalk

// A checkpoint's manifest as plain structs; configs/manifest.proto describes the file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "trainer/checkpoint/state.h"

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

struct Manifest {
  int version = kManifestVersion;
  std::string program;
  TrainingProgress progress;
  MeshShape mesh;
  RunDescription run;
  std::vector<ManifestFile> files;
  std::vector<ManifestTensor> tensors;
};

std::string manifest_text(const Manifest& manifest);  // with its checksum

// Throws CheckpointError unless the checksum is right and every part is valid in itself: file names without paths,
// names unique, boxes inside their tensors, indices inside their lists. If the manifest has another version, fills only
// `version`; the caller must check it.
Manifest parse_manifest(std::string_view text);

// Adds the files and tensors of `part` to `whole`. Throws CheckpointError if they describe a tensor differently.
void merge_manifest(Manifest& whole, const Manifest& part);

// Throws CheckpointError, naming the tensor and the range, unless every element of every tensor is in exactly one
// piece.
void check_covered(const Manifest& manifest);

}  // namespace ropewalk

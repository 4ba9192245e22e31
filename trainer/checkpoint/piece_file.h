// A file of a checkpoint, which holds pieces of tensors.
#pragma once

#include <filesystem>
#include <string>
#include <unordered_map>

#include "trainer/checkpoint/manifest.h"
#include "trainer/files/input_file.h"
#include "trainer/formats/safetensors.h"

namespace ropewalk {

class PieceFile {
 public:
  // Opens the file and verifies its header. Throws CheckpointError or FileError.
  PieceFile(FileSystem& files, const std::filesystem::path& checkpoint, const ManifestFile& expected);

  const InputFile& file() const { return file_; }
  // Where the data of the piece begin in the file. Throws CheckpointError if the file does not hold the piece as the
  // manifest says.
  int64_t offset_of(const ManifestTensor& tensor, const ManifestPiece& piece) const;
  // Throws CheckpointError unless `crc32c`, of the piece's data, is what the manifest says.
  void check_data(const ManifestTensor& tensor, const ManifestPiece& piece, uint32_t crc32c) const;

 private:
  InputFile file_;
  SafetensorsHeader header_;
  std::unordered_map<std::string, const SafetensorsEntry*> entries_;
};

// Throws CheckpointError unless every element of every tensor is in exactly one piece, and every file exists in its
// full size, also those that no rank reads.
void check_files(FileSystem& files, const std::filesystem::path& checkpoint, const Manifest& manifest);

}  // namespace ropewalk

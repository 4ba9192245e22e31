// Reads whole tensors of a checkpoint on one process, a few rows at a time, however the checkpoint's mesh cut them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/piece_file.h"

namespace ropewalk {

class TensorStream {
 public:
  // The manifest must be the checkpoint's, and must outlive this. Throws as check_files().
  TensorStream(FileSystem& files, std::filesystem::path checkpoint, const Manifest& manifest);

  // Calls take() for consecutive parts of the tensor's data, row-major in its own dtype, at most kPartBytes each (or
  // one row). Every piece is verified against its checksum by the time this returns. Throws CheckpointError or
  // FileError.
  void read(const ManifestTensor& tensor, const std::function<void(std::span<const uint8_t>)>& take);

  static constexpr int64_t kPartBytes = 1 << 20;

 private:
  const PieceFile& file(int index);

  FileSystem& files_;
  std::filesystem::path checkpoint_;
  const Manifest& manifest_;
  std::vector<std::unique_ptr<PieceFile>> open_;  // by index; null: not read yet
  std::vector<uint8_t> part_, rows_;
};

}  // namespace ropewalk

#include "trainer/checkpoint/piece_file.h"

#include "trainer/checkpoint/box_cover.h"
#include "trainer/text/format.h"

namespace ropewalk {

PieceFile::PieceFile(FileSystem& files, const std::filesystem::path& checkpoint, const ManifestFile& expected)
    : file_(files, checkpoint / expected.name), header_(read_safetensors_header(file_)) {
  if (header_.crc32c != expected.header_crc32c) {
    throw CheckpointError(fmt::format("{}: the header has checksum {:08x}, the manifest says {:08x}",
                                      file_.path().string(), header_.crc32c, expected.header_crc32c));
  }
  for (const SafetensorsEntry& entry : header_.entries) entries_[entry.name] = &entry;
}

int64_t PieceFile::offset_of(const ManifestTensor& tensor, const ManifestPiece& piece) const {
  const auto found = entries_.find(piece.name);
  if (found == entries_.end() || found->second->shape != extents_of(piece.box, tensor.shape.rank()) ||
      found->second->dtype != safetensors_name(tensor.dtype)) {
    throw CheckpointError(fmt::format("{} does not hold {} of tensor {} as the manifest says", file_.path().string(),
                                      text_of(piece.box), in_quotes(tensor.name)));
  }
  return header_.data_begin + found->second->begin;
}

void PieceFile::check_data(const ManifestTensor& tensor, const ManifestPiece& piece, uint32_t crc32c) const {
  if (crc32c == piece.crc32c) return;
  throw CheckpointError(fmt::format("{}: tensor {}, {}: the data have checksum {:08x}, the manifest says {:08x}",
                                    file_.path().string(), in_quotes(tensor.name), text_of(piece.box), crc32c,
                                    piece.crc32c));
}

void check_files(FileSystem& files, const std::filesystem::path& checkpoint, const Manifest& manifest) {
  check_covered(manifest);
  for (const ManifestFile& expected : manifest.files) {
    const InputFile file(files, checkpoint / expected.name);
    if (file.size() != expected.bytes) {
      throw CheckpointError(
          fmt::format("{} has {} bytes; the manifest says {}", file.path().string(), file.size(), expected.bytes));
    }
  }
}

}  // namespace ropewalk

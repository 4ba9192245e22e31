#include "trainer/checkpoint/piece_reader.h"

#include <algorithm>
#include <unordered_map>

#include "trainer/checkpoint/box_cover.h"
#include "trainer/files/crc32c.h"
#include "trainer/formats/elements.h"
#include "trainer/formats/safetensors.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr int64_t kChunkBytes = 8 << 20;

struct WantedPiece {
  const ManifestTensor* tensor;
  const ManifestPiece* piece;
  std::vector<const StateTensor*> targets;  // the tensors that the piece overlaps
};

// The pieces to read, by file.
std::vector<std::vector<WantedPiece>> plan(const Manifest& manifest, std::span<const StateTensor> into) {
  std::unordered_map<std::string, std::vector<const StateTensor*>> by_name;
  for (const StateTensor& tensor : into) by_name[tensor.name].push_back(&tensor);
  std::vector<std::vector<WantedPiece>> wanted(manifest.files.size());
  for (const ManifestTensor& tensor : manifest.tensors) {
    const auto found = by_name.find(tensor.name);
    if (found == by_name.end()) continue;
    for (const ManifestPiece& piece : tensor.pieces) {
      std::vector<const StateTensor*> targets;
      for (const StateTensor* target : found->second) {
        if (intersection(piece.box, target->box).elements() > 0) targets.push_back(target);
      }
      if (!targets.empty()) wanted[static_cast<size_t>(piece.file)].push_back({&tensor, &piece, std::move(targets)});
    }
  }
  return wanted;
}

class PieceReader {
 public:
  PieceReader(const InputFile& file, const SafetensorsHeader& header, Kernels& kernels)
      : file_(file), header_(header), kernels_(kernels) {
    for (const SafetensorsEntry& entry : header.entries) entries_[entry.name] = &entry;
  }

  void read(const WantedPiece& wanted) {
    const Box& box = wanted.piece->box;
    const int64_t row_bytes = box.columns() * size_of(wanted.tensor->dtype);
    const int64_t rows_per_chunk = std::max<int64_t>(1, kChunkBytes / row_bytes);
    int64_t offset = header_.data_begin + entry_of(wanted).begin;
    Crc32c crc;
    for (int64_t row = box.row_begin; row < box.row_end; row += rows_per_chunk) {
      const Box part{row, std::min(row + rows_per_chunk, box.row_end), box.column_begin, box.column_end};
      chunk_.resize(static_cast<size_t>(part.rows() * row_bytes));
      file_.read(offset, chunk_.data(), chunk_.size());
      crc.update(chunk_.data(), chunk_.size());
      offset += part.rows() * row_bytes;
      for (const StateTensor* target : wanted.targets) place(part, wanted.tensor->dtype, *target);
    }
    if (crc.value() != wanted.piece->crc32c) {
      throw CheckpointError(fmt::format("{}: tensor {}, {}: the data have checksum {:08x}, the manifest says {:08x}",
                                        file_.path().string(), in_quotes(wanted.tensor->name), text_of(box),
                                        crc.value(), wanted.piece->crc32c));
    }
  }

 private:
  const SafetensorsEntry& entry_of(const WantedPiece& wanted) const {
    const Box& box = wanted.piece->box;
    std::vector<int64_t> shape = {box.rows(), box.columns()};
    if (wanted.tensor->shape.rank() == 1) shape.erase(shape.begin());
    const auto found = entries_.find(wanted.piece->name);
    if (found == entries_.end() || found->second->shape != shape ||
        found->second->dtype != safetensors_name(wanted.tensor->dtype)) {
      throw CheckpointError(fmt::format("{} does not hold {} of tensor {} as the manifest says", file_.path().string(),
                                        text_of(box), in_quotes(wanted.tensor->name)));
    }
    return *found->second;
  }

  // Copies the intersection of `part`, whose elements are in chunk_, with the target.
  void place(const Box& part, DType dtype, const StateTensor& target) {
    const Box common = intersection(part, target.box);
    if (common.elements() == 0) return;
    const DType to = target.data.dtype();
    const Tensor rows = target.data.reshape({target.box.rows(), target.box.columns()})
                            .slice(common.row_begin - target.box.row_begin, common.row_end - target.box.row_begin);
    rows_.resize(static_cast<size_t>(rows.bytes()));
    // The other columns of these rows come from other pieces, which may have been read already.
    if (common.columns() < target.box.columns()) kernels_.download(rows, rows_.data());
    for (int64_t row = common.row_begin; row < common.row_end; ++row) {
      const int64_t from = (row - part.row_begin) * part.columns() + common.column_begin - part.column_begin;
      const int64_t at =
          (row - common.row_begin) * target.box.columns() + common.column_begin - target.box.column_begin;
      convert_elements(&chunk_[static_cast<size_t>(from * size_of(dtype))], dtype,
                       &rows_[static_cast<size_t>(at * size_of(to))], to, common.columns());
    }
    kernels_.upload(rows_.data(), rows);
  }

  const InputFile& file_;
  const SafetensorsHeader& header_;
  Kernels& kernels_;
  std::unordered_map<std::string, const SafetensorsEntry*> entries_;
  std::vector<uint8_t> chunk_;  // rows of the piece
  std::vector<uint8_t> rows_;   // rows of the target
};

SafetensorsHeader verified_header(const InputFile& file, const ManifestFile& expected) {
  SafetensorsHeader header = read_safetensors_header(file);
  if (header.crc32c != expected.header_crc32c) {
    throw CheckpointError(fmt::format("{}: the header has checksum {:08x}, the manifest says {:08x}",
                                      file.path().string(), header.crc32c, expected.header_crc32c));
  }
  return header;
}

}  // namespace

void read_pieces(FileSystem& files, const std::filesystem::path& checkpoint, const Manifest& manifest,
                 std::span<const StateTensor> into, Kernels& kernels) {
  const std::vector<std::vector<WantedPiece>> wanted = plan(manifest, into);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].empty()) continue;
    const InputFile file(files, checkpoint / manifest.files[i].name);
    const SafetensorsHeader header = verified_header(file, manifest.files[i]);
    PieceReader reader(file, header, kernels);
    for (const WantedPiece& piece : wanted[i]) reader.read(piece);
  }
  kernels.synchronize();
}

}  // namespace ropewalk

#include "trainer/checkpoint/piece_reader.h"

#include <algorithm>
#include <unordered_map>

#include "trainer/checkpoint/box_cover.h"
#include "trainer/checkpoint/piece_file.h"
#include "trainer/files/crc32c.h"
#include "trainer/formats/elements.h"

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
  PieceReader(const PieceFile& file, Kernels& kernels) : file_(file), kernels_(kernels) {}

  void read(const WantedPiece& wanted) {
    const Box& box = wanted.piece->box;
    const int64_t row_bytes = box.columns() * size_of(wanted.tensor->dtype);
    const int64_t rows_per_chunk = std::max<int64_t>(1, kChunkBytes / row_bytes);
    int64_t offset = file_.offset_of(*wanted.tensor, *wanted.piece);
    Crc32c crc;
    for (int64_t row = box.row_begin; row < box.row_end; row += rows_per_chunk) {
      const Box part{row, std::min(row + rows_per_chunk, box.row_end), box.column_begin, box.column_end};
      chunk_.resize(static_cast<size_t>(part.rows() * row_bytes));
      file_.file().read(offset, chunk_.data(), chunk_.size());
      crc.update(chunk_.data(), chunk_.size());
      offset += part.rows() * row_bytes;
      for (const StateTensor* target : wanted.targets) place(part, wanted.tensor->dtype, *target);
    }
    file_.check_data(*wanted.tensor, *wanted.piece, crc.value());
  }

 private:
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

  const PieceFile& file_;
  Kernels& kernels_;
  std::vector<uint8_t> chunk_;  // rows of the piece
  std::vector<uint8_t> rows_;   // rows of the target
};

}  // namespace

void read_pieces(FileSystem& files, const std::filesystem::path& checkpoint, const Manifest& manifest,
                 std::span<const StateTensor> into, Kernels& kernels) {
  const std::vector<std::vector<WantedPiece>> wanted = plan(manifest, into);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].empty()) continue;
    const PieceFile file(files, checkpoint, manifest.files[i]);
    PieceReader reader(file, kernels);
    for (const WantedPiece& piece : wanted[i]) reader.read(piece);
  }
  kernels.synchronize();
}

}  // namespace ropewalk

#include "trainer/checkpoint/tensor_stream.h"

#include <algorithm>
#include <cstring>

#include "trainer/checkpoint/box_cover.h"
#include "trainer/files/crc32c.h"

namespace ropewalk {

TensorStream::TensorStream(FileSystem& files, std::filesystem::path checkpoint, const Manifest& manifest)
    : files_(files), checkpoint_(std::move(checkpoint)), manifest_(manifest), open_(manifest.files.size()) {
  check_files(files_, checkpoint_, manifest_);
}

const PieceFile& TensorStream::file(int index) {
  std::unique_ptr<PieceFile>& open = open_[static_cast<size_t>(index)];
  if (!open) open = std::make_unique<PieceFile>(files_, checkpoint_, manifest_.files[static_cast<size_t>(index)]);
  return *open;
}

// Parts of rows follow each other, so each piece is read from its first row to its last, and its checksum grows along.
void TensorStream::read(const ManifestTensor& tensor, const std::function<void(std::span<const uint8_t>)>& take) {
  // Before memory for a part is taken, the files must have what the manifest says: that bounds the size of a row.
  for (const ManifestPiece& piece : tensor.pieces) file(piece.file).offset_of(tensor, piece);
  const Box whole = whole_box(tensor.shape);
  const int64_t size = size_of(tensor.dtype), row_bytes = whole.columns() * size;
  const int64_t rows_per_part = std::max<int64_t>(1, kPartBytes / std::max<int64_t>(1, row_bytes));
  std::vector<Crc32c> sums(tensor.pieces.size());
  for (int64_t row = 0; row < whole.row_end; row += rows_per_part) {
    const Box part{row, std::min(row + rows_per_part, whole.row_end), 0, whole.column_end};
    part_.resize(static_cast<size_t>(part.rows() * row_bytes));
    for (size_t i = 0; i < tensor.pieces.size(); ++i) {
      const ManifestPiece& piece = tensor.pieces[i];
      const Box common = intersection(part, piece.box);
      if (common.elements() == 0) continue;
      const PieceFile& source = file(piece.file);
      const int64_t width = common.columns() * size;
      const bool whole_rows = width == row_bytes;  // then they are read into place
      if (!whole_rows) rows_.resize(static_cast<size_t>(common.rows() * width));
      uint8_t* const rows =
          whole_rows ? &part_[static_cast<size_t>((common.row_begin - row) * row_bytes)] : rows_.data();
      const auto bytes = static_cast<size_t>(common.rows() * width);
      source.file().read(source.offset_of(tensor, piece) + (common.row_begin - piece.box.row_begin) * width, rows,
                         bytes);
      sums[i].update(rows, bytes);
      if (whole_rows) continue;
      for (int64_t r = 0; r < common.rows(); ++r)
        std::memcpy(&part_[static_cast<size_t>((common.row_begin - row + r) * row_bytes + common.column_begin * size)],
                    rows + r * width, static_cast<size_t>(width));
    }
    take(part_);
  }
  for (size_t i = 0; i < sums.size(); ++i)
    file(tensor.pieces[i].file).check_data(tensor, tensor.pieces[i], sums[i].value());
}

}  // namespace ropewalk

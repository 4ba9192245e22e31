#include "parallel/attention/sequence_layout.h"

#include <algorithm>

namespace ropewalk {

SequenceLayout::SequenceLayout(int64_t length, int ranks) : length_(length), ranks_(ranks) {
  CHECK(length >= 0 && ranks > 0, "a layout of {} tokens over {} ranks", length, ranks);
  const Partition chunks = Partition::even(length, 2 * ranks);
  pieces_.resize(static_cast<size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    std::vector<Piece>& pieces = pieces_[static_cast<size_t>(rank)];
    int64_t local = 0;
    for (int chunk : {rank, 2 * ranks - 1 - rank}) {
      const int64_t begin = chunks.begin(chunk), end = chunks.end(chunk);
      if (begin == end) continue;
      if (!pieces.empty() && pieces.back().end == begin) {
        pieces.back().end = end;
      } else {
        pieces.push_back({begin, end, local});
      }
      local += end - begin;
    }
    local_lengths_.push_back(local);
  }
}

int64_t visible_pairs(const SequenceLayout& layout, int rank, std::optional<int64_t> window,
                      const std::vector<int32_t>& document_begin) {
  int64_t pairs = 0;
  for (const Piece& piece : layout.pieces(rank)) {
    for (int64_t i = piece.begin; i < piece.end; ++i) {
      const int64_t document = document_begin.empty() ? 0 : document_begin[static_cast<size_t>(i)];
      const int64_t first = window ? std::max(document, i - *window + 1) : document;
      pairs += i - first + 1;
    }
  }
  return pairs;
}

}  // namespace ropewalk

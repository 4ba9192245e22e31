#include "parallel/attention/sequence_layout.h"

#include <algorithm>

#include "kernels/error.h"

namespace ropewalk {

SequenceLayout::SequenceLayout(int64_t length, int ranks) : length_(length), ranks_(ranks) {
  CHECK(length >= 0 && ranks > 0, "a layout of {} tokens over {} ranks", length, ranks);
  for (int rank = 0; rank < ranks; ++rank) longest_ = std::max(longest_, local_length(rank));
}

Pieces SequenceLayout::pieces(int rank) const {
  Pieces pieces;
  int64_t local = 0;
  for (const int chunk : {rank, chunks() - 1 - rank}) {
    const int64_t begin = chunk_begin(chunk), end = chunk_begin(chunk + 1);
    if (begin == end) continue;
    if (!pieces.empty() && pieces.back().end == begin) {
      pieces.back().end = end;
    } else {
      pieces.push_back({begin, end, local});
    }
    local += end - begin;
  }
  return pieces;
}

int64_t SequenceLayout::local_length(int rank) const {
  int64_t length = 0;
  for (const Piece& piece : pieces(rank)) length += piece.size();
  return length;
}

// The chunk of a position is the last one that does not begin after it.
int SequenceLayout::owner(int64_t position) const {
  CHECK(0 <= position && position < length_, "position {} of {}", position, length_);
  const auto chunk = static_cast<int>(((position + 1) * chunks() - 1) / length_);
  return std::min(chunk, chunks() - 1 - chunk);
}

}  // namespace ropewalk

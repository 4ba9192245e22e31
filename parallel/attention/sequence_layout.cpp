#include "parallel/attention/sequence_layout.h"

#include <algorithm>

#include "kernels/error.h"

namespace ropewalk {

SequenceLayout::SequenceLayout(int64_t length, int ranks) : length_(length), ranks_(ranks) {
  CHECK(length >= 0 && ranks > 0, "a layout of {} tokens over {} ranks", length, ranks);
}

// Chunks have n or n + 1 tokens, r = length mod 2P of them n + 1. The two chunks of a rank have 2n tokens if r = 0.
// Else rank 0 has 2n + 1, and some rank has 2n + 2 exactly if r does not divide 2P and the chunk of n + 1 tokens after
// the first comes before the middle.
int64_t SequenceLayout::longest_local_length() const {
  const int64_t n = length_ / chunks(), r = length_ % chunks();
  if (r == 0) return 2 * n;
  return chunks() % r != 0 && chunks() / r < ranks_ ? 2 * n + 2 : 2 * n + 1;
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
HeldPiece SequenceLayout::piece_at(int64_t position) const {
  CHECK(0 <= position && position < length_, "position {} of {}", position, length_);
  const auto chunk = static_cast<int>(((position + 1) * chunks() - 1) / length_);
  const int rank = std::min(chunk, chunks() - 1 - chunk);
  const Pieces held = pieces(rank);
  return {rank, position < held[0].end ? held[0] : held[1]};
}

}  // namespace ropewalk

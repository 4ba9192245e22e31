#include "parallel/attention/sequence_layout.h"

#include "parallel/partition.h"

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

}  // namespace ropewalk

#include "parallel/attention/ring_plan.h"

namespace ropewalk {

int ring_source(int rank, int step, int ranks) { return (rank - step + ranks) % ranks; }

std::vector<PiecePair> ring_pairs(const SequenceLayout& layout, int rank, int source,
                                  const std::vector<int32_t>& document_begin) {
  std::vector<PiecePair> pairs;
  for (const Piece& queries : layout.pieces(rank)) {
    // Later queries are never in an earlier document, so the first query sees the furthest back.
    const int64_t document = document_begin.empty() ? 0 : document_begin[static_cast<size_t>(queries.begin)];
    for (const Piece& keys : layout.pieces(source)) {
      if (keys.begin < queries.end && keys.end > document) pairs.push_back({queries, keys});
    }
  }
  return pairs;
}

}  // namespace ropewalk

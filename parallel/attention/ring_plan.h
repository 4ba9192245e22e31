// The schedule of the ring: which block is on which rank at each step, and which pairs of pieces a rank visits. A block
// is all the keys and values of one rank; blocks move from rank r to rank r + 1. Integers only; ring_attention.cpp
// moves the bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/attention/sequence_layout.h"

namespace ropewalk {

// The rank whose block is at rank `rank` after `step` moves, 0 <= step <= ranks.
int ring_source(int rank, int step, int ranks);

struct PiecePair {
  Piece queries;  // of the visiting rank
  Piece keys;     // of the block
};

// The pairs of pieces that rank `rank` visits with the block of rank `source`: those in which some query sees some key.
// Pairs whose keys lie wholly after the queries, or wholly in earlier documents, are left out. document_begin[i]: where
// the document of position i begins, [S]; empty: one document.
std::vector<PiecePair> ring_pairs(const SequenceLayout& layout, int rank, int source,
                                  const std::vector<int32_t>& document_begin);

}  // namespace ropewalk

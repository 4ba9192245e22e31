// The schedule of the ring: which block is on which rank at each step, and which of its rows a rank visits. A block is
// all the keys and values of one rank; blocks move from rank r to rank r + 1. Integers only; ring_attention.cpp moves
// the bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "parallel/attention/local_rows.h"

namespace ropewalk {

// The rank whose block is at rank `rank` after `step` moves, 0 <= step <= ranks.
int ring_source(int rank, int step, int ranks);

struct RingVisit {
  LocalRows queries;  // of the visiting rank
  LocalRows keys;     // of the block
};

// What rank `rank` visits of the block of rank `source`, in one call of a kernel: the pieces of queries that see a key
// of the block, and the pieces of keys that one of these queries sees. Without documents, with pieces (a, b) of the
// rank and (c, d) of the block: all with its own block; (a, b) x c if source < rank; b x (c, d) if source > rank.
// Nothing if no query sees a key, because of documents. document_begin[i]: where the document of position i begins,
// [S]; empty: one document.
std::optional<RingVisit> ring_visit(const SequenceLayout& layout, int rank, int source,
                                    const std::vector<int32_t>& document_begin);

// Those of a rank's queries that visit its own keys at `step` of the backward, 0 or `ranks`: the first three quarters,
// or the rest. Later queries see more keys, so either part is about half of the work. A single rank, which waits for
// nothing, visits all at once.
LocalRows own_queries(const LocalRows& queries, int step, int ranks);

}  // namespace ropewalk

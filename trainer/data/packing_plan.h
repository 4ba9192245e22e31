// Which documents share a training sequence, so that each lies in one sequence as a whole: best-fit decreasing. The
// longest document comes first; each goes to the fullest sequence that has room for it. The result has at most 11/9 of
// the fewest possible sequences, plus one (D. S. Johnson, "Near-optimal bin packing algorithms", 1973).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ropewalk {

// Sequence p has documents[begin[p]], ..., documents[begin[p + 1] - 1], in ascending order.
struct PackingPlan {
  std::vector<uint32_t> documents;
  std::vector<int64_t> begin = {0};  // one more than sequences
  int64_t sequences() const { return std::ssize(begin) - 1; }
};

// lengths: of the documents, each at most `capacity`; a document of length 0 is in no sequence. A pure function of its
// arguments. Sequences are numbered in the order of their longest documents (equal lengths: in the order of documents).
// Time O(n log capacity); memory 20 bytes a document while it runs.
PackingPlan plan_packing(std::span<const int32_t> lengths, int64_t capacity);

}  // namespace ropewalk

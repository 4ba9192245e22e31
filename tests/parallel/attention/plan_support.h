// Shared by the tests of plans: patterns of documents, and a count of how often each (query, key) pair is visited.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "parallel/attention/local_rows.h"

namespace ropewalk {

// document_begin of every position, where a document begins at 0 and at each i whose bit i-1 of `boundaries` is set.
std::vector<int32_t> documents_from_bits(int64_t length, uint64_t boundaries);

// The definition: query i sees key j iff j <= i, i - j < window, and j is not before i's document.
bool sees(int64_t i, int64_t j, std::optional<int64_t> window, const std::vector<int32_t>& document_begin);

// How often each pair of positions of a sequence is visited.
class PairCounts {
 public:
  explicit PairCounts(int64_t length) : length_(length), counts_(static_cast<size_t>(length * length)) {}

  // Visits the pairs in which the query sees the key.
  void visit(const LocalRows& queries, const LocalRows& keys, std::optional<int64_t> window,
             const std::vector<int32_t>& document_begin);
  // Number of pairs in which the query sees the key but that were not visited exactly once, or in which it does not but
  // that were visited.
  int64_t wrong_pairs(std::optional<int64_t> window, const std::vector<int32_t>& document_begin) const;

 private:
  int64_t length_;
  std::vector<uint8_t> counts_;
};

}  // namespace ropewalk

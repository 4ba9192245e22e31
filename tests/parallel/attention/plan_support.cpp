#include "tests/parallel/attention/plan_support.h"

namespace ropewalk {

std::vector<int32_t> documents_from_bits(int64_t length, uint64_t boundaries) {
  std::vector<int32_t> out;
  int32_t begin = 0;
  for (int64_t i = 0; i < length; ++i) {
    if (i > 0 && (boundaries >> (i - 1) & 1)) begin = static_cast<int32_t>(i);
    out.push_back(begin);
  }
  return out;
}

bool sees(int64_t i, int64_t j, std::optional<int64_t> window, const std::vector<int32_t>& document_begin) {
  const int64_t document = document_begin.empty() ? 0 : document_begin[static_cast<size_t>(i)];
  return j <= i && (!window || i - j < *window) && j >= document;
}

void PairCounts::visit(const LocalRows& queries, const LocalRows& keys, std::optional<int64_t> window,
                       const std::vector<int32_t>& document_begin) {
  for (int64_t t = 0; t < queries.count; ++t) {
    for (int64_t u = 0; u < keys.count; ++u) {
      const int64_t i = queries.positions.of(t), j = keys.positions.of(u);
      if (sees(i, j, window, document_begin)) ++counts_[static_cast<size_t>(i * length_ + j)];
    }
  }
}

int64_t PairCounts::wrong_pairs(std::optional<int64_t> window, const std::vector<int32_t>& document_begin) const {
  int64_t wrong = 0;
  for (int64_t i = 0; i < length_; ++i) {
    for (int64_t j = 0; j < length_; ++j) {
      const int expected = sees(i, j, window, document_begin) ? 1 : 0;
      if (counts_[static_cast<size_t>(i * length_ + j)] != expected) ++wrong;
    }
  }
  return wrong;
}

}  // namespace ropewalk

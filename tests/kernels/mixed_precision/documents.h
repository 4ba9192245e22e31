#pragma once

#include <cstdint>
#include <vector>

#include "kernels/positions.h"

namespace ropewalk {

// AttentionSpan::document_begin of T queries, where documents begin at the given positions. No positions: a single
// document.
inline std::vector<int32_t> document_of_queries(const std::vector<int32_t>& documents, const Positions& queries,
                                                int64_t T) {
  std::vector<int32_t> begins;
  for (int64_t t = 0; t < T; ++t) {
    begins.push_back(0);
    for (const int32_t document : documents)
      if (document <= queries.of(t)) begins.back() = document;
  }
  return begins;
}

}  // namespace ropewalk

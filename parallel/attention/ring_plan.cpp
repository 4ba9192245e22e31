#include "parallel/attention/ring_plan.h"

#include <algorithm>

namespace ropewalk {
namespace {

// The rows of pieces [first, last].
LocalRows rows_of(const Pieces& pieces, size_t first, size_t last) {
  const Piece &begin = pieces[first], &end = pieces[last];
  if (first == last) return begin;
  return {begin.local, begin.size() + end.size(), Positions(begin.begin, begin.size(), end.begin - begin.end)};
}

}  // namespace

int ring_source(int rank, int step, int ranks) { return (rank - step + ranks) % ranks; }

std::optional<RingVisit> ring_visit(const SequenceLayout& layout, int rank, int source,
                                    const std::vector<int32_t>& document_begin) {
  const Pieces queries = layout.pieces(rank), keys = layout.pieces(source);
  const auto sees = [&](const Piece& q, const Piece& k) {
    // Later queries are never in an earlier document, so the first query sees the furthest back.
    const int64_t document = document_begin.empty() ? 0 : document_begin[static_cast<size_t>(q.begin)];
    return k.begin < q.end && k.end > document;
  };
  size_t first_query = queries.size(), last_query = 0, first_key = keys.size(), last_key = 0;
  for (size_t q = 0; q < queries.size(); ++q)
    for (size_t k = 0; k < keys.size(); ++k) {
      if (!sees(queries[q], keys[k])) continue;
      first_query = std::min(first_query, q), last_query = std::max(last_query, q);
      first_key = std::min(first_key, k), last_key = std::max(last_key, k);
    }
  if (first_query == queries.size()) return std::nullopt;
  return RingVisit{rows_of(queries, first_query, last_query), rows_of(keys, first_key, last_key)};
}

LocalRows own_queries(const LocalRows& queries, int step, int ranks) {
  const int64_t cut = ranks == 1 ? queries.count : queries.count / 4 * 3;
  return step == 0 ? part_of(queries, 0, cut) : part_of(queries, cut, queries.count);
}

}  // namespace ropewalk

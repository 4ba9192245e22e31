// Which rows a block of attention has, and which keys they see: index arithmetic, shared by the portable and the Hopper
// kernels. Row (t, r) is query t of the r-th of the R = H / G query heads that share a KV head. A block of such rows
// visits the keys tile by tile.
#pragma once

#include "kernels/cuda/platform.h"
#include "kernels/positions.h"
#include "kernels/range.h"

namespace ROPEWALK_CUDA {

// Positions are 32-bit in kernels (check_positions in operands.h).
using RowPositions = BasicPositions<int>;

struct AttentionShape {
  int64_t T, U, H, G, K;          // queries, keys, query heads, KV heads, head size
  RowPositions queries, keys;     // of the rows of queries and of keys
  bool sliding;                   // a query sees only `window` keys, itself included
  int window;                     // if sliding
  const int32_t* document_begin;  // [T] in device memory, or null
};

// The rows of keys that the query in row t sees: AttentionMask::of_query of kernels/attention_mask.h.
__device__ __forceinline__ Range keys_of_query(const AttentionShape& s, int64_t t) {
  const int i = s.queries.of(static_cast<int>(t)), U = static_cast<int>(s.U);
  int first = s.document_begin ? s.document_begin[t] : 0;
  if (s.sliding && i + 1 - s.window > first) first = i + 1 - s.window;
  const auto clamped = [&](int x) { return x < 0 ? 0 : x > U ? U : x; };
  return {clamped(s.keys.first_row_from(first)), clamped(s.keys.first_row_from(i + 1))};
}

// The first of `queries` whose document begins after `position`, or queries.end. A binary search, since document_begin
// never decreases.
__device__ __forceinline__ int64_t queries_before(const AttentionShape& s, Range queries, int64_t position) {
  while (queries.begin < queries.end) {
    const int64_t middle = (queries.begin + queries.end) / 2;
    if (s.document_begin[middle] > position)
      queries.end = middle;
    else
      queries.begin = middle + 1;
  }
  return queries.begin;
}

// The first query at `position` or after it; s.T if there is none.
__device__ __forceinline__ int64_t query_from(const AttentionShape& s, int position) {
  const int t = s.queries.first_row_from(position), T = static_cast<int>(s.T);
  return t < 0 ? 0 : t > T ? T : t;
}

// The queries that see at least one of the keys [u, u + exist). Earlier queries precede these keys; the windows or
// documents of later queries begin after them. (If the keys' gap lies among them, a query in the gap is included
// even if its window or document begins in the gap too, so that it sees none.)
__device__ __forceinline__ Range queries_of_keys(const AttentionShape& s, int64_t u, int exist) {
  const int first = s.keys.of(static_cast<int>(u)), last = s.keys.of(static_cast<int>(u) + exist - 1);
  Range queries{query_from(s, first), s.T};
  if (s.sliding) queries.end = query_from(s, last + s.window);
  if (s.document_begin) queries.end = queries_before(s, queries, last);
  return queries;
}

// The queries that see all of the keys [u, u + count), so that they need no mask there. Empty if U < u + count.
__device__ __forceinline__ Range queries_of_all_keys(const AttentionShape& s, int64_t u, int count) {
  if (u + count > s.U) return {};
  const int first = s.keys.of(static_cast<int>(u)), last = s.keys.of(static_cast<int>(u) + count - 1);
  Range queries{query_from(s, last), s.T};
  if (s.sliding) queries.end = query_from(s, first + s.window);
  if (s.document_begin) queries.end = queries_before(s, queries, first);
  return queries;
}

// Rows (t, r) of consecutive queries from t0 on: as many whole queries, of R rows each, as fit into kMost rows.
template <int kMost>
struct Rows {
  __device__ Rows(const AttentionShape& s, int64_t t0_)
      : R(static_cast<int>(s.H) / static_cast<int>(s.G)),
        t0(t0_),
        queries(static_cast<int>(s.T - t0_ < kMost / R ? s.T - t0_ : kMost / R)) {}
  int R;
  int64_t t0;
  int queries;
  __device__ int count() const { return queries * R; }
  __device__ int64_t query(int row) const { return t0 + row / R; }
  // The index of the row in [T, H].
  __device__ int64_t at(const AttentionShape& s, int64_t g, int row) const {
    return query(row) * s.H + g * R + row % R;
  }
};

// The keys that a row sees; empty if there is no such row.
template <int kMost>
__device__ __forceinline__ Range keys_of_row(const AttentionShape& s, const Rows<kMost>& rows, int row) {
  return row < rows.count() ? keys_of_query(s, rows.query(row)) : Range{};
}

// The number of keys in the tile that begins at key u; the last tile may be cut short.
__device__ __forceinline__ int keys_from(const AttentionShape& s, int64_t u, int tile_keys) {
  return static_cast<int>(s.U - u < tile_keys ? s.U - u : tile_keys);
}

}  // namespace ROPEWALK_CUDA

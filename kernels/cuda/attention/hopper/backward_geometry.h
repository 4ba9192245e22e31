// Which tiles of rows a tile of keys meets in the Hopper backward: integers alone.
#pragma once

#include "kernels/cuda/attention/geometry.h"

namespace ROPEWALK_CUDA {

// Some tiles of rows, by their numbers.
struct TileRange {
  int begin, end;
  __device__ int count() const { return end > begin ? end - begin : 0; }
  __device__ int from_last(int i) const { return end - 1 - i; }
  __device__ bool has(int number) const { return number >= begin && number < end; }
};

// The work of a block.
struct KeyTile {
  int g, u, exist;   // key head, first key, how many there are
  TileRange rows;    // that see some of the keys
  TileRange whole;   // those of them whose rows, as many as exist, see all kKeys
};

// The queries, of those in `queries`, whose documents begin by `position`; they come first.
__device__ __forceinline__ Range with_documents_by(const AttentionShape& s, int64_t position, Range queries) {
  if (!s.document_begin) return queries;
  int64_t inside = queries.begin;
  while (inside < queries.end) {
    const int64_t middle = (inside + queries.end) / 2;
    if (s.document_begin[middle] > position)
      queries.end = middle;
    else
      inside = middle + 1;
  }
  return queries;
}

// The queries that see all of the keys [u, u + keys).
__device__ __forceinline__ Range queries_of_all_keys(const AttentionShape& s, int64_t u, int keys) {
  const int64_t first = s.k_begin + u, last = first + keys - 1;
  Range queries{last > s.q_begin ? last - s.q_begin : 0, s.T};
  if (s.sliding && first + s.window - s.q_begin < s.T) queries.end = first + s.window - s.q_begin;
  return with_documents_by(s, first, queries);
}

// Number `number` of the (tile of keys, key head)s: those of one tile are neighbours, the first tile's come first.
template <int kKeys, int kRows>
__device__ __forceinline__ KeyTile key_tile(const AttentionShape& s, int64_t number) {
  const int64_t u = number / s.G * kKeys, queries = kRows / (s.H / s.G);
  KeyTile tile{static_cast<int>(number % s.G), static_cast<int>(u), keys_from(s, u, kKeys), {}, {}};
  const Range met = queries_of_keys(s, u, tile.exist);
  const auto rounded_up = [&](int64_t t) { return static_cast<int>((t + queries - 1) / queries); };
  if (met.begin < met.end) tile.rows = {static_cast<int>(met.begin / queries), rounded_up(met.end)};
  if (tile.exist < kKeys) return tile;
  const Range whole = queries_of_all_keys(s, u, kKeys);
  if (whole.begin < whole.end)
    tile.whole = {rounded_up(whole.begin),
                  whole.end == s.T ? rounded_up(whole.end) : static_cast<int>(whole.end / queries)};
  return tile;
}

}  // namespace ROPEWALK_CUDA

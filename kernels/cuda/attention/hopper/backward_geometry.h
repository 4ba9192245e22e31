// Which row tiles a key tile visits in the Hopper backward, and in which order: index arithmetic.
#pragma once

#include "kernels/cuda/attention/geometry.h"

namespace ROPEWALK_CUDA {

struct TileRange {
  int begin, end;
  __device__ int count() const { return end > begin ? end - begin : 0; }
  __device__ bool has(int i) const { return i >= begin && i < end; }
};

// The work of a thread block: a key tile of one KV head, and the row tiles that it visits. Row tiles are numbered from
// query 0 on.
struct KeyTile {
  int g, u, exist;  // KV head, first key, number of keys that exist
  TileRange rows;   // row tiles that see any of the keys
  TileRange whole;  // row tiles whose existing rows all see all kKeys keys, so that they need no mask
  int first_met;    // the row tile visited first

  // The i-th row tile visited: from first_met down to rows.begin, then from rows.end - 1 down to first_met + 1.
  __device__ int met(int i) const {
    const int number = first_met - i;
    return number >= rows.begin ? number : number + rows.count();
  }
};

// The number of queries in a row tile.
template <int kRows>
__device__ __forceinline__ int queries_of_tile(const AttentionShape& s) {
  return kRows / static_cast<int>(s.H / s.G);
}

// The keys that query t sees, relative to tile.u. Not clamped to the tile, except that end <= tile.exist: `begin` may
// be negative, and `end` less than `begin`.
__device__ __forceinline__ TileRange keys_in_tile(const AttentionShape& s, const KeyTile& tile, int t) {
  const Range seen = keys_of_query(s, t);
  const int end = static_cast<int>(seen.end) - tile.u;
  return {static_cast<int>(seen.begin) - tile.u, end < tile.exist ? end : tile.exist};
}

// The number of earlier key tiles that the row tile beginning at query t sees too.
template <int kKeys>
__device__ __forceinline__ int tiles_of_keys_before(const AttentionShape& s, const KeyTile& tile, int t) {
  return tile.u / kKeys - static_cast<int>(keys_of_query(s, t).begin) / kKeys;
}

// The (key tile, KV head) of index `number`. KV heads are taken in sections of kSection; within a section, key tiles
// ascend: under the causal mask, the most rows see the first ones.
//
// Blocks that start together should visit a row tile that they share at the same time, so that it stays in the L2
// cache. Without a window, a block begins with its last row tile. This is the same tile for all blocks, unless a
// document ends earlier. With a window, last row tiles differ. A block then begins with the largest n among its row
// tiles for which n + 1 is a multiple of `period` (or with its last row tile if there is no such n), visits tiles in
// descending order and wraps around. `period` is about the number of row tiles that a key tile visits, so that
// neighbouring key tiles mostly begin with the same row tile.
//
// The key tiles that visit a row tile are contiguous, or Turns would wait for ever. So where the gap of the queries
// lies inside a row tile, key tiles in that gap visit it too, even if a window or a document hides them from all its
// rows.
template <int kKeys, int kRows>
__device__ __forceinline__ KeyTile key_tile(const AttentionShape& s, int number) {
  constexpr int kSection = 2;  // KV heads at a time: measured at 16k and 64k tokens, with and without a window
  const int tiles = static_cast<int>((s.U + kKeys - 1) / kKeys), queries = queries_of_tile<kRows>(s);
  const int first = number / (tiles * kSection) * kSection, rest = number % (tiles * kSection);
  const int heads = static_cast<int>(s.G) - first < kSection ? static_cast<int>(s.G) - first : kSection;
  const int u = rest / heads * kKeys;
  KeyTile tile{};
  tile.g = first + rest % heads;
  tile.u = u;
  tile.exist = keys_from(s, u, kKeys);
  const auto rounded_up = [&](int64_t t) { return static_cast<int>((t + queries - 1) / queries); };
  const Range met = queries_of_keys(s, u, tile.exist);
  if (met.begin < met.end) {
    tile.rows = {static_cast<int>(met.begin / queries), rounded_up(met.end)};
  } else if (s.queries.second < s.T && s.queries.second % queries != 0) {
    const int with_gap = s.queries.second / queries;
    const Rows<kRows> rows(s, with_gap * queries);
    if (keys_of_query(s, rows.t0).begin < u + tile.exist && keys_of_query(s, rows.t0 + rows.queries - 1).end > u)
      tile.rows = {with_gap, with_gap + 1};
  }
  tile.first_met = tile.rows.end - 1;
  if (s.sliding) {
    const int period = rounded_up(kKeys + s.window - 1), aligned = tile.rows.end / period * period - 1;
    if (aligned >= tile.rows.begin) tile.first_met = aligned;
  }
  const Range whole = queries_of_all_keys(s, u, kKeys);
  if (whole.begin < whole.end)
    tile.whole = {rounded_up(whole.begin),
                  whole.end == s.T ? rounded_up(whole.end) : static_cast<int>(whole.end / queries)};
  return tile;
}

}  // namespace ROPEWALK_CUDA

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
  int g, u, exist;  // key head, first key, how many there are
  int diagonal;     // of the keys, counted from the first: the one where query 0 is
  TileRange rows;   // that see some of the keys
  TileRange whole;  // those of them whose rows, as many as exist, see all kKeys
};

// Number `number` of the (tile of keys, key head)s: those of one tile are neighbours, the first tile's come first.
template <int kKeys, int kRows>
__device__ __forceinline__ KeyTile key_tile(const AttentionShape& s, int64_t number, int section) {
  const int64_t tiles = (s.U + kKeys - 1) / kKeys, of_section = number % (tiles * section);
  const int64_t u = of_section / section * kKeys, queries = kRows / (s.H / s.G);
  KeyTile tile{static_cast<int>(number / (tiles * section) * section + of_section % section),
               static_cast<int>(u),
               keys_from(s, u, kKeys),
               static_cast<int>(s.q_begin - s.k_begin - u),
               {},
               {}};
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

// Those of a tile's keys that query t sees, counted from the tile's first one; an end may be before the begin.
__device__ __forceinline__ TileRange keys_in_tile(const AttentionShape& s, const KeyTile& tile, int t) {
  TileRange seen{-tile.u, tile.diagonal + t + 1};
  if (s.sliding) seen.begin = seen.end - static_cast<int>(s.window);
  if (s.document_begin && t < static_cast<int>(s.T)) {
    const int first = s.document_begin[t] - static_cast<int>(s.k_begin) - tile.u;
    if (first > seen.begin) seen.begin = first;
  }
  if (seen.end > tile.exist) seen.end = tile.exist;
  return seen;
}

// How many tiles of keys before this one the tile of rows from query t0 on sees.
template <int kKeys>
__device__ __forceinline__ int turn_of_tile(const AttentionShape& s, const KeyTile& tile, int t0) {
  const int first = keys_in_tile(s, tile, t0).begin + tile.u;
  return (tile.u - (first > 0 ? first / kKeys * kKeys : 0)) / kKeys;
}

}  // namespace ROPEWALK_CUDA

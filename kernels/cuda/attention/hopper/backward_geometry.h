// Which tiles of rows a tile of keys meets in the Hopper backward, and in which order: integers alone.
#pragma once

#include "kernels/cuda/attention/geometry.h"

namespace ROPEWALK_CUDA {

struct TileRange {
  int begin, end;
  __device__ int count() const { return end > begin ? end - begin : 0; }
  __device__ bool has(int i) const { return i >= begin && i < end; }
};

// The work of a block. Tiles of rows go by their numbers from query 0 on.
struct KeyTile {
  int g, u, exist;  // key head, first key, how many keys there are
  int diagonal;     // query 0 sees up to this one of the keys, counted from the first
  TileRange rows;   // tiles of rows that see some of the keys
  TileRange whole;  // those whose rows, as many as exist, see all kKeys
  int first_met;

  // The i-th that is met: downwards from the first one, and then from the last.
  __device__ int met(int i) const {
    const int number = first_met - i;
    return number >= rows.begin ? number : number + rows.count();
  }
};

// Of a tile of rows.
template <int kRows>
__device__ __forceinline__ int queries_of_tile(const AttentionShape& s) {
  return kRows / static_cast<int>(s.H / s.G);
}

// Those of a tile's keys that query t sees, counted from the tile's first one, which may be far outside of it.
__device__ __forceinline__ TileRange keys_in_tile(const AttentionShape& s, const KeyTile& tile, int t) {
  TileRange seen{-tile.u, tile.diagonal + t + 1};
  if (s.sliding && seen.end - static_cast<int>(s.window) > seen.begin)
    seen.begin = seen.end - static_cast<int>(s.window);
  if (s.document_begin) {
    const int first = s.document_begin[t] - static_cast<int>(s.k_begin) - tile.u;
    if (first > seen.begin) seen.begin = first;
  }
  if (seen.end > tile.exist) seen.end = tile.exist;
  return seen;
}

// How many tiles of keys before this one the tile of rows from query t on sees.
template <int kKeys>
__device__ __forceinline__ int tiles_of_keys_before(const AttentionShape& s, const KeyTile& tile, int t) {
  return tile.u / kKeys - (keys_in_tile(s, tile, t).begin + tile.u) / kKeys;
}

// Number `number` of the (tile of keys, key head)s. Some heads come before the next; of each the first tile of keys,
// which most rows see, comes first.
//
// Blocks that begin together meet the same tile of rows at a time, as far as they see it, so that the L2 cache has it:
// the last one first. With windows no row tile is met by all blocks. So each begins at a row tile whose number follows
// a multiple of `period` downwards: as `period` is how many row tiles a tile of keys meets, every block has at most one
// such place, neighbours have the same one, and they go round from there.
template <int kKeys, int kRows>
__device__ __forceinline__ KeyTile key_tile(const AttentionShape& s, int number) {
  constexpr int kSection = 2;  // heads at a time: measured at 16k and 64k, with and without a window
  const int tiles = static_cast<int>((s.U + kKeys - 1) / kKeys), queries = queries_of_tile<kRows>(s);
  const int first = number / (tiles * kSection) * kSection, rest = number % (tiles * kSection);
  const int heads = static_cast<int>(s.G) - first < kSection ? static_cast<int>(s.G) - first : kSection;
  const int u = rest / heads * kKeys;
  KeyTile tile{};
  tile.g = first + rest % heads;
  tile.u = u;
  tile.exist = keys_from(s, u, kKeys);
  tile.diagonal = static_cast<int>(s.q_begin - s.k_begin - u);
  const auto rounded_up = [&](int64_t t) { return static_cast<int>((t + queries - 1) / queries); };
  const Range met = queries_of_keys(s, u, tile.exist);
  if (met.begin < met.end) tile.rows = {static_cast<int>(met.begin / queries), rounded_up(met.end)};
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

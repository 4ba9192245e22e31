// How attention is cut into tiles of queries x keys, in integers. A tile is the smallest rectangle around the pairs
// that are visible inside it, so wholly masked tiles and the masked fringes of the others are never computed.
#pragma once

#include <optional>

#include "kernels/attention_mask.h"

namespace ropewalk {

// Rows of queries [t_begin, t_end) x rows of keys [u_begin, u_end), neither empty. Each query sees at least one of the
// keys.
struct AttentionTile {
  int64_t t_begin, t_end, u_begin, u_end;
  bool whole;  // every query sees every key

  int64_t queries() const { return t_end - t_begin; }
  int64_t keys() const { return u_end - u_begin; }
  // The keys of the tile that query t sees, counted from u_begin.
  VisibleKeys keys_of(const AttentionMask& mask, int64_t t) const {
    if (whole) return {0, keys()};
    const VisibleKeys seen = mask.of_query(t);
    return {std::max(seen.begin, u_begin) - u_begin, std::min(seen.end, u_end) - u_begin};
  }
};

// The visible part of queries [t_begin, t_end) x keys [u_begin, u_end), if there is one. The keys must exist.
inline std::optional<AttentionTile> visible_tile(const AttentionMask& mask, int64_t t_begin, int64_t t_end,
                                                 int64_t u_begin, int64_t u_end) {
  while (t_begin < t_end && mask.of_query(t_begin).end <= u_begin) ++t_begin;
  while (t_begin < t_end && mask.of_query(t_end - 1).begin >= u_end) --t_end;
  if (t_begin == t_end) return std::nullopt;
  const VisibleKeys first = mask.of_query(t_begin), last = mask.of_query(t_end - 1);
  const AttentionTile tile{t_begin, t_end, std::max(u_begin, first.begin), std::min(u_end, last.end), false};
  if (tile.u_begin >= tile.u_end) return std::nullopt;
  const bool whole = last.begin <= tile.u_begin && tile.u_end <= first.end;
  return AttentionTile{t_begin, t_end, tile.u_begin, tile.u_end, whole};
}

// Calls f with the visible tiles of queries [t_begin, t_end), in the order of their keys; the keys are cut at multiples
// of `keys_per_tile`.
template <typename F>
void for_each_tile(const AttentionMask& mask, int64_t t_begin, int64_t t_end, int64_t keys_per_tile, F&& f) {
  const int64_t begin = mask.of_query(t_begin).begin / keys_per_tile * keys_per_tile;
  const int64_t end = mask.of_query(t_end - 1).end;
  for (int64_t u = begin; u < end; u += keys_per_tile)
    if (const auto tile = visible_tile(mask, t_begin, t_end, u, std::min(end, u + keys_per_tile))) f(*tile);
}

}  // namespace ropewalk

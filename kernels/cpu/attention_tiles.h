// The tiling of attention: index arithmetic. A block of queries visits the keys in tiles. Inside a tile, a strip of a
// few rows computes only the keys from the first to the last that any of its rows sees, extended to whole vectors. So
// wholly masked tiles are skipped, and a strip computes masked scores only for keys that some of its rows do not see
// and for keys added by the extension.
#pragma once

#include <vector>

#include "kernels/attention_mask.h"

namespace ropewalk {

// Fails CHECK unless document_begin never decreases and is at most each query's position. The code below needs both.
void check_documents(const AttentionSizes& s, const AttentionSpan& span);

// A block has at most kTileRows rows, or R if R is larger. A tile has kTileKeys keys. Both numbers are multiples of
// every strip's height and every panel's width (tile_product-inl.h).
inline constexpr int64_t kTileRows = 96;
inline constexpr int64_t kTileKeys = 96;

// The range from the first to the last key that any of the T > 0 queries sees; and the whole tiles that contain it.
inline Range visible_keys(const AttentionMask& mask, int64_t T) {
  return {mask.of_query(0).begin, mask.of_query(T - 1).end};
}
inline Range whole_tiles(Range keys) {
  if (keys.empty()) return {};
  return {keys.begin / kTileKeys * kTileKeys, round_up(keys.end, kTileKeys)};
}
// Those of the keys that lie in the tile [u, u + kTileKeys), counted from u.
inline Range in_tile(Range keys, int64_t u) {
  return {std::max(keys.begin - u, int64_t{0}), std::min(keys.end - u, kTileKeys)};
}

// The rows of a block are pairs (t, r): query t of the r-th of the R query heads that share a KV head. So all rows of a
// block share its keys.
class QueryBlock {
 public:
  QueryBlock(const AttentionMask& mask, int64_t T, int64_t R) : mask_(mask), T_(T), R_(R) {}

  // The largest number of queries, and of rows, in a block.
  int64_t most_queries() const { return std::max<int64_t>(1, kTileRows / R_); }
  int64_t most_rows() const { return most_queries() * R_; }

  // Moves to the block that begins at query t.
  void move_to(int64_t t) {
    t_ = t;
    seen_.clear();
    for (int64_t query = t; query < std::min(T_, t + most_queries()); ++query) {
      seen_.insert(seen_.end(), static_cast<size_t>(R_), mask_.of_query(query));
    }
  }

  int64_t first_query() const { return t_; }
  int64_t queries() const { return rows() / R_; }
  int64_t rows() const { return static_cast<int64_t>(seen_.size()); }

  // Contains all keys that any row sees; may contain others.
  Range keys() const { return {seen_.front().begin, seen_.back().end}; }
  // Exactly the keys of the tile [u, u + kTileKeys) that the row sees, counted from u.
  Range keys_of_row(int64_t row, int64_t u) const { return in_tile(seen_[static_cast<size_t>(row)], u); }
  // Contains all keys of that tile that any of the rows [begin, end) sees, counted from u; may contain others. Rows
  // beyond the block see nothing.
  Range keys_of_rows(int64_t begin, int64_t end, int64_t u) const {
    end = std::min(end, rows());
    if (begin >= end) return {};
    return in_tile({seen_[static_cast<size_t>(begin)].begin, seen_[static_cast<size_t>(end - 1)].end}, u);
  }
  // Contains all rows that see any of the keys [begin, end) of the piece; may contain others.
  Range rows_of_keys(int64_t begin, int64_t end) const {
    Range found{0, rows()};
    while (!found.empty() && seen_[static_cast<size_t>(found.begin)].end <= begin) ++found.begin;
    while (!found.empty() && seen_[static_cast<size_t>(found.end - 1)].begin >= end) --found.end;
    return found;
  }

 private:
  const AttentionMask& mask_;
  int64_t T_, R_, t_ = 0;
  std::vector<Range> seen_;  // of each row
};

// Where packed tiles of keys are kept: in as many slots as one block visits tiles, used in turn. Blocks advance, so a
// tile is packed when the first block visits it, and replaced when no block visits it any more.
class TileRing {
 public:
  // For blocks of `queries` queries.
  TileRing(const AttentionMask& mask, int64_t T, int64_t queries) {
    for (int64_t t = 0; t < T; t += queries) {
      const Range keys{mask.of_query(t).begin, mask.of_query(std::min(t + queries, T) - 1).end};
      slots_ = std::max(slots_, whole_tiles(keys).size() / kTileKeys);
    }
  }
  int64_t slots() const { return slots_; }
  int64_t slot(int64_t u) const { return u / kTileKeys % slots_; }  // of the tile that begins at key u

  void start() { next_ = 0; }
  // Whether no block has visited the tile at u since the start. Blocks visit their tiles in order.
  bool first_visit(int64_t u) {
    const bool first = u >= next_;
    if (first) next_ = u + kTileKeys;
    return first;
  }

 private:
  int64_t slots_ = 0, next_ = 0;
};

}  // namespace ropewalk

// How attention is cut, in integers. A block of queries meets the keys in tiles; inside a tile work is done in strips
// of a few rows, and a strip computes only the columns between the first and the last key that any of its rows sees. So
// wholly masked tiles do not exist, and the masked fringes of the others are never wider than a strip and a vector.
#pragma once

#include <vector>

#include "kernels/attention_mask.h"

namespace ropewalk {

// Documents must begin in order and not after their queries, or what follows would be wrong.
void check_documents(const AttentionSizes& s, const AttentionSpan& span);

// Of a tile, at most. Multiples of every strip and of every panel (tile_product-inl.h).
inline constexpr int64_t kTileRows = 96;
inline constexpr int64_t kTileKeys = 96;

// The keys that any of the queries sees, T > 0; and the tiles that they are in.
inline Range visible_keys(const AttentionMask& mask, int64_t T) {
  return {mask.of_query(0).begin, mask.of_query(T - 1).end};
}
inline Range whole_tiles(Range keys) {
  if (keys.empty()) return {};
  return {keys.begin / kTileKeys * kTileKeys, round_up(keys.end, kTileKeys)};
}

// The rows of a block are (t, r): query t of the r-th of the R heads that read one key head, so that they share its
// keys.
class QueryBlock {
 public:
  QueryBlock(const AttentionMask& mask, int64_t T, int64_t R) : mask_(mask), T_(T), R_(R) {}

  // Queries of a block, and its rows, at most.
  int64_t most_queries() const { return std::max<int64_t>(1, kTileRows / R_); }
  int64_t most_rows() const { return most_queries() * R_; }

  // Goes to the block that begins at query t.
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

  // The keys that any row sees lie in here; it may hold others. So with the next three.
  Range keys() const { return {seen_.front().begin, seen_.back().end}; }
  // Of the tile of keys [u, u + kTileKeys): what the row sees.
  Range keys_of_row(int64_t row, int64_t u) const { return in_tile(seen_[static_cast<size_t>(row)], u); }
  // What any of the rows [begin, end) sees; rows beyond the block see nothing.
  Range keys_of_rows(int64_t begin, int64_t end, int64_t u) const {
    end = std::min(end, rows());
    if (begin >= end) return {};
    return in_tile({seen_[static_cast<size_t>(begin)].begin, seen_[static_cast<size_t>(end - 1)].end}, u);
  }
  // The rows that see any of the keys [begin, end), counted from the start of all keys.
  Range rows_of_keys(int64_t begin, int64_t end) const {
    Range found{0, rows()};
    while (!found.empty() && seen_[static_cast<size_t>(found.begin)].end <= begin) ++found.begin;
    while (!found.empty() && seen_[static_cast<size_t>(found.end - 1)].begin >= end) --found.end;
    return found;
  }

 private:
  static Range in_tile(Range seen, int64_t u) {
    return {std::max(seen.begin - u, int64_t{0}), std::min(seen.end - u, kTileKeys)};
  }

  const AttentionMask& mask_;
  int64_t T_, R_, t_ = 0;
  std::vector<Range> seen_;  // of each row
};

}  // namespace ropewalk

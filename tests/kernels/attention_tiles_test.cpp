// The tiles of attention's cpu backend, enumerated against the definition of the mask: every visible pair lies in
// exactly one tile, and no tile has a row or column at its border that holds nothing visible.
#include "kernels/cpu/attention_tiles.h"

#include <gtest/gtest.h>

#include <map>

namespace ropewalk {
namespace {

struct Piece {
  int64_t q_begin, T, k_begin, U;
  std::optional<int64_t> window;
  std::vector<int32_t> document_begin;  // of each query; empty: not given

  bool visible(int64_t t, int64_t u) const {
    const int64_t i = q_begin + t, j = k_begin + u;
    return j <= i && (!window || i - j < *window) &&
           (document_begin.empty() || j >= document_begin[static_cast<size_t>(t)]);
  }
  AttentionMask mask() const {
    return AttentionMask(U, q_begin, k_begin, window, document_begin.empty() ? nullptr : document_begin.data());
  }
};

// Tiles of `queries` x `keys`; returns how many pairs they hold.
int64_t check_tiles(const Piece& piece, int64_t queries, int64_t keys) {
  const AttentionMask mask = piece.mask();
  std::map<std::pair<int64_t, int64_t>, int> visits;
  int64_t computed = 0;
  for (int64_t t = 0; t < piece.T; t += queries) {
    int64_t last_u = -1;
    for_each_tile(mask, t, std::min(piece.T, t + queries), keys, [&](const AttentionTile& tile) {
      EXPECT_TRUE(t <= tile.t_begin && tile.t_begin < tile.t_end && tile.t_end <= std::min(piece.T, t + queries));
      EXPECT_TRUE(0 <= tile.u_begin && tile.u_begin < tile.u_end && tile.u_end <= piece.U);
      EXPECT_EQ(tile.u_begin / keys, (tile.u_end - 1) / keys) << "the tile crosses a block of keys";
      EXPECT_GT(tile.u_begin, last_u) << "tiles out of order";
      last_u = tile.u_begin;
      computed += tile.queries() * tile.keys();
      bool whole = true;
      std::vector<bool> column_used(static_cast<size_t>(tile.keys()), false);
      for (int64_t i = tile.t_begin; i < tile.t_end; ++i) {
        bool row_used = false;
        const VisibleKeys seen = tile.keys_of(mask, i);
        for (int64_t u = tile.u_begin; u < tile.u_end; ++u) {
          const bool visible = piece.visible(i, u),
                     told = seen.begin <= u - tile.u_begin && u - tile.u_begin < seen.end;
          EXPECT_EQ(visible, told) << "query row " << i << ", key row " << u;
          row_used = row_used || visible;
          if (visible) column_used[static_cast<size_t>(u - tile.u_begin)] = true;
          whole = whole && visible;
          ++visits[{i, u}];
        }
        EXPECT_TRUE(row_used) << "query row " << i << " of a tile sees nothing in it";
      }
      EXPECT_EQ(whole, tile.whole);
      for (bool used : column_used) EXPECT_TRUE(used) << "a key of a tile that none of its queries sees";
    });
  }
  for (int64_t t = 0; t < piece.T; ++t)
    for (int64_t u = 0; u < piece.U; ++u) {
      const auto visit = visits.find({t, u});
      const int count = visit == visits.end() ? 0 : visit->second;
      EXPECT_LE(count, 1);
      EXPECT_GE(count, piece.visible(t, u) ? 1 : 0) << "query row " << t << ", key row " << u << " is left out";
    }
  return computed;
}

// All offsets of queries to keys, all windows, three packings of documents, several tile shapes.
TEST(AttentionTiles, VisitEveryVisiblePairOnceAndNothingElseAtTheirBorders) {
  for (int64_t T : {1, 5, 8})
    for (int64_t U : {1, 6, 9})
      for (int64_t q_begin = 0; q_begin <= 12; q_begin += 3)
        for (int64_t k_begin = 0; k_begin <= 12; k_begin += 4)
          for (int64_t window : {0, 1, 2, 3, 5, 8, 30})  // 0: none
            for (int documents = 0; documents < 3; ++documents) {
              Piece piece{q_begin, T, k_begin, U, window ? std::optional(window) : std::nullopt, {}};
              for (int64_t i = q_begin; documents && i < q_begin + T; ++i)
                piece.document_begin.push_back(static_cast<int32_t>(documents == 1 ? i / 4 * 4 : i >= 7 ? 7 : 0));
              for (int64_t queries : {1, 3, 8})
                for (int64_t keys : {1, 4, 16}) check_tiles(piece, queries, keys);
              ASSERT_FALSE(HasFailure()) << "T " << T << " U " << U << " q " << q_begin << " k " << k_begin
                                         << " window " << window << " documents " << documents;
            }
}

// A window layer's work does not grow with the sequence: at most the visible pairs and a fringe of one tile's width a
// query.
TEST(AttentionTiles, WorkOfAWindowIsProportionalToItsPairs) {
  const int64_t S = 700, window = 60, queries = 16, keys = 16;
  const int64_t pairs = check_tiles({0, S, 0, S, window, {}}, queries, keys);
  EXPECT_LE(pairs, S * (window + queries));
}

}  // namespace
}  // namespace ropewalk

// The tiling of the cpu backend's attention, enumerated against the definition of the mask: every visible pair lies in
// one tile, in the range of its row, and in the ranges of its strip of rows and of its strip of keys.
#include "kernels/cpu/attention_tiles.h"

#include <gtest/gtest.h>

namespace ropewalk {
namespace {

struct Piece {
  int64_t q_begin, T, k_begin, U;
  std::optional<int64_t> window;
  std::vector<int32_t> document_begin;  // of each query; empty: absent

  bool visible(int64_t t, int64_t u) const {
    const int64_t i = q_begin + t, j = k_begin + u;
    return j <= i && (!window || i - j < *window) &&
           (document_begin.empty() || j >= document_begin[static_cast<size_t>(t)]);
  }
  AttentionMask mask() const {
    return AttentionMask(U, q_begin, k_begin, window, document_begin.empty() ? nullptr : document_begin.data());
  }
};

bool holds(Range range, int64_t i) { return range.begin <= i && i < range.end; }

// Checks strips of `strip` rows or keys, and that each tile is packed once and kept while a block visits it. Returns
// the number of pairs that the strips of rows compute.
int64_t check_blocks(const Piece& piece, int64_t R, int64_t strip) {
  const AttentionMask mask = piece.mask();
  QueryBlock block(mask, piece.T, R);
  TileRing ring(mask, piece.T, block.most_queries());
  std::vector<int64_t> kept(static_cast<size_t>(ring.slots()), -1);  // the tile that each slot holds
  int64_t computed = 0, next = 0, packed = -1;
  for (int64_t t = 0; t < piece.T; t += block.most_queries()) {
    block.move_to(t);
    EXPECT_EQ(block.first_query(), next);
    EXPECT_EQ(block.rows(), block.queries() * R);
    next += block.queries();
    const Range tiles = whole_tiles(block.keys());
    for (int64_t u = tiles.begin; u < tiles.end; u += kTileKeys) {
      int64_t& tile = kept[static_cast<size_t>(ring.slot(u))];
      if (ring.first_visit(u)) {
        EXPECT_LT(packed, u);
        tile = packed = u;
      }
      EXPECT_EQ(tile, u);
    }
    for (int64_t row = 0; row < block.rows(); ++row)
      for (int64_t key = 0; key < piece.U; ++key)
        EXPECT_TRUE(!piece.visible(t + row / R, key) || holds(block.keys(), key));
    for (int64_t u = 0; u < piece.U; u += kTileKeys) {
      for (int64_t first = 0; first < block.rows(); first += strip) {
        const Range seen = block.keys_of_rows(first, first + strip, u);
        if (!seen.empty()) {
          EXPECT_TRUE(0 <= seen.begin && seen.end <= kTileKeys && u + seen.end <= piece.U);
          computed += seen.size() * std::min(strip, block.rows() - first);
        }
        for (int64_t row = first; row < std::min(first + strip, block.rows()); ++row)
          for (int64_t key = 0; key < std::min(kTileKeys, piece.U - u); ++key) {
            const bool visible = piece.visible(t + row / R, u + key);
            EXPECT_EQ(visible, holds(block.keys_of_row(row, u), key)) << "row " << row << ", key " << u + key;
            EXPECT_TRUE(!visible || holds(seen, key));
          }
      }
      for (int64_t key = 0; key < std::min(kTileKeys, piece.U - u); key += strip) {
        const Range rows = block.rows_of_keys(u + key, u + key + strip);
        EXPECT_TRUE(rows.empty() || (0 <= rows.begin && rows.end <= block.rows()));
        for (int64_t row = 0; row < block.rows(); ++row)
          for (int64_t j = u + key; j < std::min(u + key + strip, piece.U); ++j)
            EXPECT_TRUE(!piece.visible(t + row / R, j) || holds(rows, row)) << "row " << row << ", key " << j;
      }
    }
  }
  EXPECT_EQ(next, piece.T);
  return computed;
}

// Offsets of queries to keys, windows below and above all sizes, three layouts of documents, several strips and groups.
TEST(AttentionTiles, HoldEveryVisiblePair) {
  for (int64_t T : {1, 7, 130})
    for (int64_t U : {1, 9, 200})
      for (int64_t q_begin : {0, 5, 95, 210})
        for (int64_t k_begin : {0, 4, 60})
          for (int64_t window : {0, 1, 3, 40, 96, 150})  // 0: none
            for (int documents = 0; documents < 3; ++documents) {
              Piece piece{q_begin, T, k_begin, U, window ? std::optional(window) : std::nullopt, {}};
              for (int64_t i = q_begin; documents && i < q_begin + T; ++i)
                piece.document_begin.push_back(static_cast<int32_t>(documents == 1 ? i / 4 * 4 : i >= 107 ? 107 : 0));
              check_blocks(piece, 1 + T % 3, 6);
              if (T < 130) check_blocks(piece, 130, 12);
              ASSERT_FALSE(HasFailure()) << "T " << T << " U " << U << " q " << q_begin << " k " << k_begin
                                         << " window " << window << " documents " << documents;
            }
}

// With a sliding window, work per query does not grow with the sequence: the visible pairs, and at most a strip's
// height of masked keys.
TEST(AttentionTiles, WorkOfAWindowIsProportionalToItsPairs) {
  const int64_t S = 700, window = 60, strip = 6;
  EXPECT_LE(check_blocks({0, S, 0, S, window, {}}, 1, strip), S * (window + strip));
}

}  // namespace
}  // namespace ropewalk

#include "parallel/attention/ring_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/parallel/attention/plan_support.h"

namespace ropewalk {
namespace {

// All visits of all ranks at all steps, except those of (rank, step) = `skip`.
PairCounts walk(const SequenceLayout& layout, const std::vector<int32_t>& documents,
                std::pair<int, int> skip = {-1, -1}) {
  PairCounts counts(layout.length());
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    for (int step = 0; step < layout.ranks(); ++step) {
      if (skip == std::pair(rank, step)) continue;
      const int source = ring_source(rank, step, layout.ranks());
      const std::optional<RingVisit> met = ring_visit(layout, rank, source, documents);
      if (met) counts.visit(met->queries, met->keys, std::nullopt, documents);
    }
  }
  return counts;
}

TEST(RingPlan, VisitsEveryPairOnceForEveryPatternOfDocuments) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (int64_t length = 0; length <= 9; ++length) {
      const SequenceLayout layout(length, ranks);
      EXPECT_EQ(walk(layout, {}).wrong_pairs(std::nullopt, {}), 0);
      for (uint64_t boundaries = 0; boundaries < (1u << std::max<int64_t>(length - 1, 0)); ++boundaries) {
        const std::vector<int32_t> documents = documents_from_bits(length, boundaries);
        ASSERT_EQ(walk(layout, documents).wrong_pairs(std::nullopt, documents), 0)
            << length << " over " << ranks << ", documents " << boundaries;
      }
    }
  }
}

// The positions of rows, in order.
std::vector<int64_t> positions_of(const LocalRows& rows) {
  std::vector<int64_t> out;
  for (int64_t row = 0; row < rows.count; ++row) out.push_back(rows.positions.of(row));
  return out;
}

// Calls f(layout, rank, source, documents, visit or nothing) for several of each.
template <typename F>
void for_each_visit(F f) {
  for (int ranks = 1; ranks <= 5; ++ranks)
    for (int64_t length : {6, 11, 40}) {
      const SequenceLayout layout(length, ranks);
      for (uint64_t boundaries : {0u, 0b1u, 0b100100u, 0b1111111111u}) {
        const std::vector<int32_t> documents = documents_from_bits(length, boundaries);
        for (int rank = 0; rank < ranks; ++rank)
          for (int source = 0; source < ranks; ++source)
            f(layout, rank, source, documents, ring_visit(layout, rank, source, documents));
      }
    }
}

TEST(RingPlan, LeavesOutExactlyThePiecesThatSeeNothing) {
  for_each_visit([](const SequenceLayout& layout, int rank, int source, const std::vector<int32_t>& documents,
                    const std::optional<RingVisit>& met) {
    // The pieces in which some query sees a key of the block, and the pieces of keys that some query sees.
    std::vector<int64_t> queries, keys;
    const auto seen = [&](const Piece& q, const Piece& k) {
      for (int64_t i = q.begin; i < q.end; ++i)
        for (int64_t j = k.begin; j < k.end; ++j)
          if (sees(i, j, std::nullopt, documents)) return true;
      return false;
    };
    for (const Piece& q : layout.pieces(rank))
      if (std::ranges::any_of(layout.pieces(source), [&](const Piece& k) { return seen(q, k); }))
        for (int64_t i = q.begin; i < q.end; ++i) queries.push_back(i);
    for (const Piece& k : layout.pieces(source))
      if (std::ranges::any_of(layout.pieces(rank), [&](const Piece& q) { return seen(q, k); }))
        for (int64_t j = k.begin; j < k.end; ++j) keys.push_back(j);
    ASSERT_EQ(met.has_value(), !queries.empty());
    if (!met) return;
    EXPECT_EQ(positions_of(met->queries), queries);
    EXPECT_EQ(positions_of(met->keys), keys);
  });
}

TEST(RingPlan, RowsLieWhereTheirPositionsAre) {
  for_each_visit([](const SequenceLayout& layout, int rank, int source, const std::vector<int32_t>&,
                    const std::optional<RingVisit>& met) {
    if (!met) return;
    for (const auto& [holder, rows] : {std::pair(rank, met->queries), std::pair(source, met->keys)})
      for (int64_t row = 0; row < rows.count; ++row) {
        const HeldPiece held = layout.piece_at(rows.positions.of(row));
        EXPECT_EQ(held.rank, holder);
        EXPECT_EQ(rows.local + row, held.piece.local + rows.positions.of(row) - held.piece.begin);
      }
  });
}

TEST(RingPlan, EveryBlockGoesOnceAround) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (int rank = 0; rank < ranks; ++rank) {
      EXPECT_EQ(ring_source(rank, 0, ranks), rank);
      EXPECT_EQ(ring_source(rank, ranks, ranks), rank);
      for (int step = 0; step < ranks; ++step) {
        EXPECT_EQ(ring_source((rank + 1) % ranks, step + 1, ranks), ring_source(rank, step, ranks))
            << "what is here now is at the next rank one step later";
      }
    }
  }
}

TEST(RingPlan, ASkippedStepIsNoticed) {
  const SequenceLayout layout(24, 4);
  for (int rank = 0; rank < 4; ++rank) {
    for (int step = 0; step < 4; ++step) {
      EXPECT_GT(walk(layout, {}, {rank, step}).wrong_pairs(std::nullopt, {}), 0);
    }
  }
}

}  // namespace
}  // namespace ropewalk

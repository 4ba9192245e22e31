#include "parallel/attention/ring_plan.h"

#include <gtest/gtest.h>

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
      for (const auto& [queries, keys] : ring_pairs(layout, rank, ring_source(rank, step, layout.ranks()), documents)) {
        counts.visit(queries.begin, queries.end, keys.begin, keys.end, std::nullopt, documents);
      }
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

TEST(RingPlan, LeavesOutExactlyThePairsThatSeeNothing) {
  for (int ranks = 1; ranks <= 5; ++ranks) {
    for (int64_t length : {6, 11, 40}) {
      const SequenceLayout layout(length, ranks);
      for (uint64_t boundaries : {0u, 0b1u, 0b100100u, 0b1111111111u}) {
        const std::vector<int32_t> documents = documents_from_bits(length, boundaries);
        for (int rank = 0; rank < ranks; ++rank) {
          for (int source = 0; source < ranks; ++source) {
            for (const auto& [queries, keys] : ring_pairs(layout, rank, source, documents)) {
              int64_t seen = 0;
              for (int64_t i = queries.begin; i < queries.end; ++i) {
                for (int64_t j = keys.begin; j < keys.end; ++j) seen += sees(i, j, std::nullopt, documents);
              }
              EXPECT_GT(seen, 0);
            }
          }
        }
      }
    }
  }
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

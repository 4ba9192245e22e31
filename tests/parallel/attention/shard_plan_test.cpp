#include "parallel/shard_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/random.h"

namespace ropewalk {
namespace {

std::vector<FlatParameter> consecutive(const std::vector<std::pair<int64_t, int64_t>>& shapes) {
  std::vector<FlatParameter> out;
  int64_t offset = 0;
  for (const auto& [rows, columns] : shapes) {
    out.push_back({offset, rows, columns});
    offset += rows * columns;
  }
  return out;
}

void expect_a_whole_plan(const std::vector<FlatParameter>& parameters, int ranks) {
  const ShardPlan plan(parameters, ranks);
  int64_t total = 0, widest = 0;
  for (const FlatParameter& p : parameters) {
    total += p.rows * p.columns;
    widest = std::max(widest, p.columns);
  }
  ASSERT_EQ(plan.cut().parts(), ranks);
  ASSERT_EQ(plan.cut().total(), total);
  std::vector<int> owners(static_cast<size_t>(total));
  for (int rank = 0; rank < ranks; ++rank) {
    // Each of a shard's two ends is at most half a row from where an even cut would have it.
    EXPECT_LE(std::abs(plan.cut().size(rank) - total / ranks), widest + 1);
    int64_t next = plan.cut().begin(rank);
    for (const ShardSegment& segment : plan.segments(rank)) {
      const FlatParameter& p = parameters[static_cast<size_t>(segment.parameter)];
      EXPECT_EQ(segment.flat_begin, next) << "segments fill the shard";
      EXPECT_EQ(segment.flat_begin, p.offset + segment.row_begin * p.columns) << "whole rows";
      EXPECT_EQ(segment.flat_end, p.offset + segment.row_end * p.columns);
      EXPECT_LT(segment.row_begin, segment.row_end);
      EXPECT_LE(segment.row_end, p.rows);
      for (int64_t i = segment.flat_begin; i < segment.flat_end; ++i) ++owners[static_cast<size_t>(i)];
      next = segment.flat_end;
    }
    EXPECT_EQ(next, plan.cut().end(rank));
  }
  EXPECT_TRUE(std::all_of(owners.begin(), owners.end(), [](int n) { return n == 1; }));
}

TEST(ShardPlan, CoversEveryElementOnce) {
  const RandomStream random(1, "shapes");
  for (uint64_t trial = 0; trial < 200; ++trial) {
    std::vector<std::pair<int64_t, int64_t>> shapes;
    const int64_t count = static_cast<int64_t>(random.uniform(trial * 64) * 8);
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t index = trial * 64 + 2 * static_cast<uint64_t>(i);
      shapes.push_back({static_cast<int64_t>(random.uniform(index + 1) * 20),
                        static_cast<int64_t>(random.uniform(index + 2) * 12)});  // extents of 0 among them
    }
    for (int ranks = 1; ranks <= 9; ++ranks) expect_a_whole_plan(consecutive(shapes), ranks);
  }
}

TEST(ShardPlan, CutsAtTheNearestRow) {
  const ShardPlan plan(consecutive({{3, 4}, {5, 1}, {2, 8}}), 3);  // 33 elements, ideal cuts at 11 and 22
  EXPECT_EQ(plan.cut().end(0), 12);
  EXPECT_EQ(plan.cut().end(1), 25);
  EXPECT_EQ(plan.segments(1).size(), 2u);
  EXPECT_EQ(plan.segments(1)[1].row_end, 1);
}

TEST(ShardPlan, OneRowWiderThanAShardStaysWhole) {
  const ShardPlan plan(consecutive({{1, 100}}), 4);
  int holders = 0;
  for (int rank = 0; rank < 4; ++rank) holders += plan.cut().size(rank) == 100;
  EXPECT_EQ(holders, 1);
}

TEST(ShardPlan, NothingToShare) {
  expect_a_whole_plan({}, 3);
  expect_a_whole_plan(consecutive({{0, 8}, {4, 0}}), 3);
}

TEST(ShardPlan, RefusesAGap) { EXPECT_THROW(ShardPlan({{0, 2, 2}, {5, 1, 1}}, 2), std::logic_error); }

}  // namespace
}  // namespace ropewalk

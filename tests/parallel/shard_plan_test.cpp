#include "parallel/shard_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "kernels/random.h"

namespace ropewalk {
namespace {

using Units = std::vector<std::vector<int64_t>>;

int64_t size_of(const std::vector<int64_t>& unit) { return std::accumulate(unit.begin(), unit.end(), int64_t{0}); }

// Every element of every parameter has one owner; all ranks own equal parts of each bucket, in order.
void expect_a_whole_plan(const Units& units, int ranks, int64_t least_part) {
  const ShardPlan plan(units, ranks, least_part);
  std::vector<int64_t> sizes;
  for (const auto& unit : units) sizes.insert(sizes.end(), unit.begin(), unit.end());
  std::vector<std::vector<int>> owners;
  for (const int64_t size : sizes) owners.emplace_back(static_cast<size_t>(size));

  int64_t end = 0;
  size_t next_unit = 0;
  for (const ShardBucket& bucket : plan.buckets()) {
    EXPECT_EQ(bucket.begin, end) << "buckets follow one another";
    EXPECT_EQ(bucket.first_unit, next_unit);
    EXPECT_GT(bucket.units_end, bucket.first_unit);
    EXPECT_EQ((bucket.end - bucket.begin) % (ranks * ShardPlan::kAlignment), 0);
    EXPECT_LT(bucket.end - bucket.filled_end, ranks * ShardPlan::kAlignment) << "no more padding than it takes";
    int64_t filled = 0;
    for (size_t unit = bucket.first_unit; unit < bucket.units_end; ++unit) {
      EXPECT_EQ(&plan.buckets()[plan.bucket_of(unit)], &bucket);
      filled += size_of(units[unit]);
    }
    EXPECT_EQ(bucket.filled_end - bucket.begin, filled);
    if (bucket.first_unit > 0) {
      EXPECT_GE(filled, least_part * ranks);
      EXPECT_TRUE(bucket.units_end == bucket.first_unit + 1 ||
                  filled - size_of(units[bucket.first_unit]) < least_part * ranks)
          << "no more units than it takes";
    }
    for (int rank = 0; rank < ranks; ++rank) {
      const int64_t part = (bucket.end - bucket.begin) / ranks;
      EXPECT_EQ(plan.cut(bucket).size(rank), part);
      int64_t flat = bucket.begin + rank * part, shard = bucket.begin / ranks;
      for (const ShardSegment& segment : plan.segments(bucket, rank)) {
        EXPECT_EQ(segment.flat_begin, flat) << "segments lie next to each other";
        EXPECT_EQ(segment.shard_begin, shard);
        EXPECT_EQ(segment.flat_begin, plan.offset(segment.parameter) + segment.begin);
        EXPECT_LT(segment.begin, segment.end);
        ASSERT_LE(segment.end, sizes[static_cast<size_t>(segment.parameter)]);
        for (int64_t i = segment.begin; i < segment.end; ++i)
          ++owners[static_cast<size_t>(segment.parameter)][static_cast<size_t>(i)];
        flat += segment.elements();
        shard += segment.elements();
      }
      EXPECT_EQ(flat, std::clamp(bucket.filled_end, bucket.begin + rank * part, bucket.begin + (rank + 1) * part));
      EXPECT_LE(shard, plan.shard_elements());
    }
    end = bucket.end;
    next_unit = bucket.units_end;
  }
  EXPECT_EQ(next_unit, units.size());
  EXPECT_EQ(plan.elements(), end);
  EXPECT_EQ(plan.shard_elements() * ranks, end);
  for (const auto& parameter : owners)
    EXPECT_TRUE(std::all_of(parameter.begin(), parameter.end(), [](int n) { return n == 1; }));
}

TEST(ShardPlan, OwnsEveryElementOnceInEvenParts) {
  const RandomStream random(1, "shapes");
  for (uint64_t trial = 0; trial < 100; ++trial) {
    auto draw = [&, i = trial * 64](int64_t below) mutable {
      return static_cast<int64_t>(random.uniform(i++) * static_cast<double>(below));
    };
    Units units(static_cast<size_t>(draw(6)));
    for (auto& unit : units)
      for (int64_t parameters = draw(5); parameters > 0; --parameters)
        unit.push_back(draw(800));  // some have 0 elements
    for (int ranks = 1; ranks <= 9; ++ranks)
      for (const int64_t least_part : {0, 50, 200, 10000}) expect_a_whole_plan(units, ranks, least_part);
  }
}

TEST(ShardPlan, BucketsAreFilledAsTheBackwardGoes) {
  const ShardPlan plan({{1000}, {300}, {300}, {300}, {700}}, 2, 250);  // at least 500 elements per bucket
  ASSERT_EQ(plan.buckets().size(), 3u);
  EXPECT_EQ(plan.buckets()[2].first_unit, 4u);
  EXPECT_EQ(plan.buckets()[1].first_unit, 2u);
  EXPECT_EQ(plan.buckets()[0].first_unit, 0u) << "one block is left, and goes with the embedding";
}

TEST(ShardPlan, NothingToShare) {
  EXPECT_EQ(ShardPlan({}, 3, 0).elements(), 0);
  expect_a_whole_plan({{}, {0, 0}, {5}}, 3, 0);
}

// Every range of every matrix, by going through its elements.
TEST(BoxesOf, CoverTheRangeInOrder) {
  for (const int64_t columns : {1, 2, 3, 7}) {
    const int64_t total = 5 * columns;
    for (int64_t begin = 0; begin <= total; ++begin)
      for (int64_t end = begin; end <= total; ++end) {
        const std::vector<Box> boxes = boxes_of(begin, end, columns);
        EXPECT_LE(boxes.size(), 3u);
        int64_t at = begin;
        for (const Box& box : boxes) {
          EXPECT_GT(box.elements(), 0);
          EXPECT_TRUE(box.rows() == 1 || box.columns() == columns) << "its elements follow one another";
          for (int64_t row = box.row_begin; row < box.row_end; ++row)
            for (int64_t column = box.column_begin; column < box.column_end; ++column)
              EXPECT_EQ(row * columns + column, at++);
        }
        EXPECT_EQ(at, end);
      }
  }
  EXPECT_EQ(boxes_of(4, 12, 4).size(), 1u) << "whole rows are one box";
}

}  // namespace
}  // namespace ropewalk

#include "trainer/data/packing_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <numeric>
#include <set>

namespace ropewalk {
namespace {

std::vector<int32_t> lengths_of(const PackingPlan& plan, std::span<const int32_t> lengths, size_t sequence) {
  std::vector<int32_t> out;
  for (auto i = plan.begin[sequence]; i < plan.begin[sequence + 1]; ++i)
    out.push_back(lengths[plan.documents[static_cast<size_t>(i)]]);
  return out;
}

TEST(PackingPlan, ByHand) {
  // 9 begins the first sequence; 6 the second, 4 completes it; 3 and 3 begin the third, 2 does not fit elsewhere, 1
  // fits best beside the 9.
  const std::vector<int32_t> lengths = {3, 4, 0, 9, 1, 3, 2, 6};
  const PackingPlan plan = plan_packing(lengths, 10);
  ASSERT_EQ(plan.sequences(), 3);
  EXPECT_EQ(lengths_of(plan, lengths, 0), (std::vector<int32_t>{9, 1}));
  EXPECT_EQ(lengths_of(plan, lengths, 1), (std::vector<int32_t>{4, 6}));
  EXPECT_EQ(lengths_of(plan, lengths, 2), (std::vector<int32_t>{3, 3, 2}));
  EXPECT_EQ(plan_packing({}, 10).sequences(), 0);
  EXPECT_EQ(plan_packing(std::vector<int32_t>{0, 0}, 10).sequences(), 0);
}

// The fewest sequences, by trying everything.
int64_t fewest(std::vector<int32_t> rest, std::vector<int64_t>& rooms, int64_t capacity) {
  if (rest.empty()) return std::ssize(rooms);
  const int32_t length = rest.back();
  rest.pop_back();
  int64_t best = 1 << 20;
  std::set<int64_t> tried;
  for (size_t i = 0; i < rooms.size(); ++i) {
    if (rooms[i] < length || !tried.insert(rooms[i]).second) continue;
    rooms[i] -= length;
    best = std::min(best, fewest(rest, rooms, capacity));
    rooms[i] += length;
  }
  rooms.push_back(capacity - length);
  best = std::min(best, fewest(rest, rooms, capacity));
  rooms.pop_back();
  return best;
}

// Random lengths: every document is in one sequence, none is too full, and there are at most 11/9 of the fewest
// possible sequences, plus 6/9 (the best bound known, G. Dosa 2007, for first-fit decreasing; best-fit decreasing has
// it too).
TEST(PackingPlan, HoldsEachDocumentOnceInFewSequences) {
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    const auto capacity = static_cast<int32_t>(5 + random() % 30);
    std::vector<int32_t> lengths(random() % 10);
    for (int32_t& length : lengths) length = static_cast<int32_t>(random() % static_cast<uint32_t>(capacity + 1));
    const PackingPlan plan = plan_packing(lengths, capacity);
    std::multiset<uint32_t> seen(plan.documents.begin(), plan.documents.end());
    for (uint32_t document = 0; document < lengths.size(); ++document)
      EXPECT_EQ(seen.count(document), lengths[document] > 0 ? 1 : 0);
    for (size_t sequence = 0; sequence < static_cast<size_t>(plan.sequences()); ++sequence) {
      const std::vector<int32_t> held = lengths_of(plan, lengths, sequence);
      EXPECT_FALSE(held.empty());
      EXPECT_LE(std::accumulate(held.begin(), held.end(), 0), capacity);
      EXPECT_TRUE(std::is_sorted(plan.documents.begin() + plan.begin[sequence],
                                 plan.documents.begin() + plan.begin[sequence + 1]));
    }
    std::vector<int32_t> rest;
    for (const int32_t length : lengths)
      if (length > 0) rest.push_back(length);
    std::vector<int64_t> rooms;
    EXPECT_LE(9 * plan.sequences(), 11 * fewest(rest, rooms, capacity) + 6);
  }
}

// A million documents of many lengths: next to nothing is wasted.
TEST(PackingPlan, AMillionDocuments) {
  std::mt19937 random(6);
  std::vector<int32_t> lengths(1'000'000);
  int64_t total = 0;
  for (int32_t& length : lengths)
    total += length = static_cast<int32_t>(std::min(8192.0, std::exp(4 + random() % 4000 / 1000.0)));
  const PackingPlan plan = plan_packing(lengths, 8192);
  EXPECT_LE(plan.sequences(), total / 8192 * 1001 / 1000 + 1);
}

}  // namespace
}  // namespace ropewalk

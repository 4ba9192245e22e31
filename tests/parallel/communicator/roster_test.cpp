// The names of ranks in messages.
#include "parallel/communicator/roster.h"

#include <gtest/gtest.h>

#include <numeric>

#include "kernels/error.h"

namespace ropewalk {
namespace {

std::vector<std::string> nodes(int count, int ranks_each) {
  std::vector<std::string> hosts;
  for (int rank = 0; rank < count * ranks_each; ++rank) hosts.push_back(fmt::format("node{}", rank / ranks_each));
  return hosts;
}

TEST(Roster, CountsAsTheWorldDoes) {
  const Roster world(8, nodes(2, 4));
  EXPECT_EQ(world.name(5), "rank 5 on node1");
  const Roster group = world.of({7, 3, 5});
  EXPECT_EQ(group.size(), 3);
  EXPECT_EQ(group.name(0), "rank 7 on node1");
  EXPECT_EQ(group.of({2, 1}).name(1), "rank 3 on node0");
  EXPECT_EQ(group.of({2, 1}).world_rank(0), 5);
  EXPECT_EQ(Roster(2).name(1), "rank 1");
}

TEST(Roster, NamesManyByHost) {
  const Roster world(64, nodes(8, 8));
  EXPECT_EQ(world.names({3}), "rank 3 on node0");
  EXPECT_EQ(world.names({4, 3}), "ranks 3, 4 on node0");
  EXPECT_EQ(world.names({1, 5, 6, 7, 8}), "ranks 1, 5-7 on node0 and rank 8 on node1");
  EXPECT_EQ(world.names({0, 8, 16}), "rank 0 on node0, rank 8 on node1 and rank 16 on node2");
  EXPECT_EQ(Roster(4).names({0, 1, 3}), "ranks 0, 1, 3");
}

TEST(Roster, KeepsToALine) {
  const Roster world(2000, nodes(100, 20));
  std::vector<int> even, all(2000);
  std::iota(all.begin(), all.end(), 0);
  for (int rank = 0; rank < 20; rank += 2) even.push_back(rank);
  EXPECT_EQ(world.names(even), "ranks 0, 2, 4, 6, 8, 10, 12, 14, ... on node0");
  EXPECT_TRUE(world.names(all).ends_with("ranks 140-159 on node7 and those on 92 more hosts"));
}

TEST(Roster, OfAnotherSizeIsABug) { EXPECT_THROW(Roster(3, {"a", "b"}), std::logic_error); }

}  // namespace
}  // namespace ropewalk

// For every mesh of the world's size: each group holds exactly the ranks that it should, in order.
#include "parallel/mesh.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "tests/parallel/communicator/worlds.h"

namespace ropewalk {
namespace {

class MeshTest : public testing::TestWithParam<int> {
 protected:
  int size() const { return GetParam(); }
};

std::vector<MeshShape> shapes_of(int ranks) {
  std::vector<MeshShape> out;
  for (int data = 1; data <= ranks; ++data) {
    for (int context = 1; data * context <= ranks; ++context) {
      if (ranks % (data * context) == 0) out.push_back({data, context, ranks / (data * context)});
    }
  }
  return out;
}

// The world ranks of a group's members, in the group's order.
std::vector<int> members_of(Communicator& group, int world_rank) {
  std::vector<int32_t> all(static_cast<size_t>(group.size()));
  std::vector<int32_t> mine = {world_rank};
  group.all_gather(tensor_of(mine), Partition::even(group.size(), group.size()), tensor_of(all));
  EXPECT_EQ(all[static_cast<size_t>(group.rank())], world_rank);
  return {all.begin(), all.end()};
}

TEST_P(MeshTest, GroupsHoldTheRightRanks) {
  run_world(size(), [this](const auto& world) {
    const int rank = world->rank();
    for (const MeshShape& shape : shapes_of(size())) {
      const Mesh mesh(shape, world);
      const auto rank_at = [&](int data, int context, int tensor) {
        return (data * shape.context_parallel + context) * shape.tensor_parallel + tensor;
      };
      EXPECT_EQ(rank_at(mesh.data_rank(), mesh.context_rank(), mesh.tensor_rank()), rank);
      std::vector<int> tensor, sequence, batch, gradient, everyone;
      for (int d = 0; d < shape.data_parallel; ++d) {
        for (int c = 0; c < shape.context_parallel; ++c) {
          for (int t = 0; t < shape.tensor_parallel; ++t) {
            const int other = rank_at(d, c, t);
            const bool same_d = d == mesh.data_rank(), same_c = c == mesh.context_rank(),
                       same_t = t == mesh.tensor_rank();
            everyone.push_back(other);
            if (same_d && same_c) tensor.push_back(other);
            if (same_d && same_t) sequence.push_back(other);
            if (same_c && same_t) batch.push_back(other);
            if (same_t) gradient.push_back(other);
          }
        }
      }
      EXPECT_EQ(members_of(mesh.world(), rank), everyone);
      EXPECT_EQ(members_of(mesh.tensor(), rank), tensor);
      EXPECT_EQ(members_of(mesh.sequence(), rank), sequence);
      EXPECT_EQ(members_of(mesh.batch(), rank), batch);
      EXPECT_EQ(members_of(mesh.gradient(), rank), gradient);
      EXPECT_EQ(members_of(mesh.key_replicas(), rank), std::vector<int>{rank});
    }
  });
}

TEST_P(MeshTest, KeyReplicasAreRunsOfTensorRanks) {
  run_world(size(), [this](const auto& world) {
    const int rank = world->rank();
    for (const MeshShape& shape : shapes_of(size())) {
      for (int key_heads = 1; key_heads <= size(); ++key_heads) {
        if (shape.tensor_parallel > key_heads && shape.tensor_parallel % key_heads != 0) {
          EXPECT_THROW(Mesh(shape, world, key_heads), ConfigurationError);
          continue;
        }
        const Mesh mesh(shape, world, key_heads);
        const int replicas = std::max(1, shape.tensor_parallel / key_heads);
        std::vector<int> expected;
        for (int i = 0; i < replicas; ++i) expected.push_back(rank / replicas * replicas + i);
        EXPECT_EQ(members_of(mesh.key_replicas(), rank), expected);
      }
    }
  });
}

TEST_P(MeshTest, CountersAreByAxis) {
  run_world(size(), [this](const auto& world) {
    const Mesh mesh({1, 1, size()}, world, 1);
    std::vector<float> x(1000);
    mesh.tensor().all_reduce(tensor_of(x), Reduction::kSum);
    mesh.sequence().all_reduce(tensor_of(x), Reduction::kSum);  // of one rank: nothing to send
    std::map<std::string, CommunicationCounters> counters;
    for (const auto& [axis, counted] : mesh.counters()) counters[axis] = counted;
    ASSERT_EQ(counters.size(), 6u);
    const int64_t part = 4 * Partition::even(1000, size()).size(world->rank());
    EXPECT_EQ(counters.at("tensor").bytes_sent, 4000 - part + (size() - 1) * part);
    EXPECT_EQ(counters.at("tensor").calls, 1);
    EXPECT_EQ(counters.at("sequence").bytes_sent, 0);
    EXPECT_EQ(counters.at("sequence").calls, 1);
    for (const char* axis : {"world", "batch", "gradient", "key_replicas"}) EXPECT_EQ(counters.at(axis).calls, 0);
  });
}

std::string configuration_error_of(const MeshShape& shape, const std::shared_ptr<Communicator>& world, int key_heads) {
  try {
    Mesh(shape, world, key_heads);
  } catch (const ConfigurationError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(MeshShapes, ThatDoNotFitAreRefusedWithValuesAndRemedy) {
  const int size = world_sizes().back();
  run_world(size, [&](const auto& world) {
    const std::string ranks = std::to_string(size);
    EXPECT_EQ(configuration_error_of({1, 2, 5}, world, 8),
              "data_parallel(1) * context_parallel(2) * tensor_parallel(5) = 10, but " + ranks +
                  " ranks were started; start 10 ranks or change these sizes so that their product is " + ranks);
    EXPECT_EQ(configuration_error_of({1, 0, size}, world, 8), "context_parallel is 0; it must be at least 1");
    EXPECT_EQ(configuration_error_of({-1, -1, size}, world, 8), "data_parallel is -1; it must be at least 1");
    EXPECT_EQ(configuration_error_of({1, 1, size}, world, 0), "key_heads is 0; it must be at least 1");
    const int huge = std::numeric_limits<int>::max();
    EXPECT_NE(configuration_error_of({huge, huge, huge}, world, 8).find("= 9903520300447984"), std::string::npos);
    EXPECT_NE(configuration_error_of({65536, 65536, size}, world, 8).find("ranks were started"), std::string::npos);
    if (size < 4) return;
    EXPECT_EQ(
        configuration_error_of({1, 1, size}, world, 3),
        "tensor_parallel is " + ranks +
            " and the model has 3 key heads; where there are more ranks than key heads, each head is held by the same "
            "number of ranks; set tensor_parallel to a multiple of 3 or to at most 3");
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, MeshTest, testing::ValuesIn(world_sizes()),
                         [](const auto& instance) { return "ranks_" + std::to_string(instance.param); });

}  // namespace
}  // namespace ropewalk

// A CountingCommunicator counts the same bytes, and a counting mesh has the same groups, as if all ranks existed.
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "parallel/communicator/counting_communicator.h"
#include "parallel/mesh.h"
#include "tests/support/ranks.h"

namespace ropewalk {
namespace {

using Action = std::function<void(Communicator&)>;

// All kinds of operations, with sizes that the ranks do not divide and empty ones; `numbers` is large enough for each.
std::vector<Action> actions(std::vector<float>& numbers) {
  const auto tensor = [&](int64_t begin, int64_t rows, int64_t columns) {
    return Tensor(numbers.data() + begin, DType::kF32, Device{}, {rows, columns});
  };
  std::vector<Action> out;
  for (const int64_t rows : {0, 1, 7, 24}) {
    out.push_back([=](Communicator& group) { group.all_reduce(tensor(0, rows, 3), Reduction::kSum); });
    out.push_back([=](Communicator& group) {
      const Partition cut = Partition::even(rows, group.size());
      group.reduce_scatter(tensor(0, rows, 3), cut, tensor(100, cut.size(group.rank()), 3));
    });
    out.push_back([=](Communicator& group) {
      const Partition cut = Partition::even(rows, group.size());
      group.all_gather(tensor(100, cut.size(group.rank()), 3), cut, tensor(0, rows, 3));
    });
    out.push_back([=](Communicator& group) {
      for (int root = 0; root < group.size(); ++root) group.broadcast(tensor(0, rows, 3), root);
    });
    out.push_back([=](Communicator& group) {  // to the next rank, and to itself
      const int next = (group.rank() + 1) % group.size(), previous = (group.rank() + group.size() - 1) % group.size();
      const Message sends[] = {{next, tensor(0, rows, 3)}, {group.rank(), tensor(0, 2, 3)}};
      const Message receives[] = {{previous, tensor(100, rows, 3)}, {group.rank(), tensor(200, 2, 3)}};
      group.start_exchange(sends, receives)->wait();
    });
  }
  out.push_back([](Communicator& group) { group.barrier(); });
  out.push_back([](Communicator& group) { sum_of(group, 1.0); });
  return out;
}

TEST(CountingCommunicator, CountsTheBytesThatAreSent) {
  for (int size = 1; size <= 6; ++size)
    run_ranks(size, [&](const std::shared_ptr<Communicator>& world) {
      CountingCommunicator counting(world->rank(), size);
      EXPECT_EQ(counting.size(), world->size());
      std::vector<float> numbers(300);
      const std::vector<Action> all = actions(numbers);
      for (size_t i = 0; i < all.size(); ++i) {
        all[i](*world);
        all[i](counting);
        EXPECT_EQ(counting.bytes_sent(), world->bytes_sent())
            << "action " << i << ", rank " << world->rank() << " of " << size;
      }
    });
}

// One rank knows what every rank sends in collectives, but not their exchanges.
TEST(CountingCommunicator, CountsTheCollectivesOfEveryRank) {
  for (int size = 1; size <= 6; ++size)
    run_ranks(size, [&](const std::shared_ptr<Communicator>& world) {
      std::vector<float> numbers(300);
      for (int other = 0; other < size; ++other) {
        CountingCommunicator counting(other, size);
        for (const Action& action : actions(numbers)) {
          CountingCommunicator mine(world->rank(), size);
          action(mine);
          const int64_t exchanged = mine.bytes_sent() - mine.sent_in_collectives(world->rank());
          const int64_t before = counting.sent_in_collectives(world->rank());
          action(counting);
          EXPECT_EQ(counting.sent_in_collectives(world->rank()) - before, mine.bytes_sent() - exchanged);
        }
      }
    });
}

TEST(CountingCommunicator, ChangesNothing) {
  std::vector<float> numbers(300, 5.0f);
  CountingCommunicator counting(1, 3);
  for (const Action& action : actions(numbers)) action(counting);
  EXPECT_EQ(numbers, std::vector<float>(300, 5.0f));
}

TEST(CountingMesh, HasTheGroupsOfAMesh) {
  for (const MeshShape shape : {MeshShape{1, 1, 1}, {2, 3, 1}, {1, 2, 4}, {2, 2, 2}, {3, 1, 2}})
    for (const int key_heads : {1, 2, 8})
      run_ranks(shape.size(), [&](const std::shared_ptr<Communicator>& world) {
        Mesh mesh(shape, world, key_heads);
        const Mesh counting = Mesh::counting(shape, world->rank(), key_heads);
        EXPECT_EQ(counting.data_rank(), mesh.data_rank());
        EXPECT_EQ(counting.context_rank(), mesh.context_rank());
        EXPECT_EQ(counting.tensor_rank(), mesh.tensor_rank());
        for (const auto group :
             {&Mesh::world, &Mesh::tensor, &Mesh::sequence, &Mesh::batch, &Mesh::gradient, &Mesh::key_replicas}) {
          EXPECT_EQ((counting.*group)().rank(), (mesh.*group)().rank());
          EXPECT_EQ((counting.*group)().size(), (mesh.*group)().size());
        }
        const Communicator* const groups[] = {&mesh.world(), &mesh.tensor(),   &mesh.sequence(),
                                              &mesh.batch(), &mesh.gradient(), &mesh.key_replicas()};
        const auto places = Mesh::places(shape, world->rank(), key_heads);
        for (size_t i = 0; i < mesh.counters().size(); ++i) {
          EXPECT_EQ(counting.counters()[i].first, mesh.counters()[i].first);
          EXPECT_EQ(places[i], groups[i]->rank());
        }
        EXPECT_EQ(counting.counters()[Mesh::kSequenceAxis].first, "sequence");
      });
  EXPECT_THROW(Mesh::counting({1, 1, 3}, 0, 2), ConfigurationError);
}

}  // namespace
}  // namespace ropewalk

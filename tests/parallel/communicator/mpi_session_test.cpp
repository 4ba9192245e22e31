// Tests for MPI alone: the world by its transport, and messages of more than 2 GiB.
#include <gtest/gtest.h>

#include "parallel/communicator/make_communicator.h"
#include "parallel/communicator/mpi_communicator.h"
#include "tests/parallel/communicator/worlds.h"

namespace ropewalk {
namespace {

TEST(MpiWorld, IsMadeByName) {
  const auto world = make_world(Transport::kMpi, {std::chrono::seconds(10)});
  EXPECT_EQ(world->size(), world_sizes().front());
  EXPECT_EQ(make_world(Transport::kSingle, {std::chrono::seconds(10)})->size(), 1);
}

// Rank 0 waits for a message of rank 1, which sends it and then fails, all while rank 0 does not look: the message has
// arrived, so the wait succeeds.
TEST(MpiWorld, AWaitGivesUpOnlyWithoutItsMessages) {
  if (world_sizes().front() == 1) GTEST_SKIP() << "needs a peer";
  constexpr std::chrono::seconds kDeadline(60);
  const auto steps = make_mpi_world({kDeadline});
  for (const size_t elements : {1, 1 << 20}) {  // sent eagerly, and moved when the receiver is known
    std::vector<int32_t> x(elements, steps->rank());
    int asked = 0;
    const auto give_up = [&] {
      if (steps->rank() != 0) return false;
      if (asked++ == 0) {
        steps->barrier();  // rank 1 sends now
        steps->barrier();  // and has sent
      }
      return true;
    };
    const auto world = make_mpi_world({.deadline = kDeadline, .give_up = give_up});
    const Message to_0{0, tensor_of(x)}, from_1{1, tensor_of(x)};
    if (world->rank() == 0) {
      world->start_exchange({}, {&from_1, 1})->wait();
      EXPECT_EQ(asked, 1);
      EXPECT_EQ(x, std::vector<int32_t>(elements, 1));
    } else {
      steps->barrier();
      if (world->rank() == 1) world->start_exchange({&to_0, 1}, {})->wait();
      steps->barrier();
    }
  }
}

// Needs 4.3 GB; run by the `long` tests.
TEST(MpiWorld, DISABLED_HugeMessage) {
  const auto world = make_mpi_world({std::chrono::seconds(250)});
  constexpr int64_t kBytes = (int64_t{1} << 31) + 12345;
  std::vector<uint8_t> x(kBytes);
  const auto value = [](int64_t i) { return static_cast<uint8_t>(i * 31 + (i >> 20)); };
  if (world->rank() == 0) {
    for (int64_t i = 0; i < kBytes; ++i) x[static_cast<size_t>(i)] = value(i);
  }
  world->broadcast(tensor_of(x), 0);
  int64_t wrong = 0;
  for (int64_t i = 0; i < kBytes; ++i) wrong += x[static_cast<size_t>(i)] != value(i);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(world->bytes_sent(), world->rank() == 0 ? kBytes : 0);

  // Sizes are compared exactly beyond 2 GiB, too.
  const Tensor all = tensor_of(x), fewer = all.slice(0, kBytes - 1);
  const std::string message = communication_error_of([&] {
    const Message send{1, fewer}, receive{0, all};
    if (world->rank() == 0) world->start_exchange({&send, 1}, {})->wait();
    if (world->rank() == 1) world->start_exchange({}, {&receive, 1})->wait();
  });
  if (world->rank() == 1) {
    EXPECT_NE(message.find("2147495993 bytes of u8 from rank 0"), std::string::npos) << message;
    EXPECT_NE(message.find("2147495992 bytes of u8 in exchange (operation 2)"), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace ropewalk

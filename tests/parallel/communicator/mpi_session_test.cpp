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

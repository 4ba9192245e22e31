// Tests for threads alone: ranks in one process see each other fail.
#include <gtest/gtest.h>

#include <atomic>

#include "parallel/communicator/thread_communicator.h"
#include "tests/parallel/communicator/worlds.h"
#include "tests/support/ranks.h"

namespace ropewalk {
namespace {

TEST(ThreadWorld, ARankThatThrowsFreesTheOthersAndIsHeard) {
  std::atomic<int> freed = 0;
  try {
    run_ranks(5, [&](const auto& world) {
      std::shared_ptr<Communicator> pair;
      const auto work = [&] {
        pair = world->split(world->rank() / 2, 0);
        if (world->rank() == 3) throw DataError("the file is empty");
        for (;;) world->rank() < 2 ? pair->barrier() : world->barrier();  // groups fail with the world
      };
      if (world->rank() == 3) work();
      const std::string message = communication_error_of(work);
      EXPECT_EQ(message, "rank 3 has thrown an exception");
      ++freed;
    });
    FAIL() << "nothing was thrown";
  } catch (const DataError& error) {
    EXPECT_STREQ(error.what(), "the file is empty");
  }
  EXPECT_EQ(freed, 4);
}

// The tensors of a message may be freed as soon as its exchange has failed: no rank may copy from or to them after
// that.
TEST(ThreadWorld, NobodyTouchesAFailedExchange) {
  for (int repetition = 0; repetition < 200; ++repetition) {
    EXPECT_THROW(run_ranks(3,
                           [&](const auto& world) {
                             if (world->rank() == 2) throw DataError("early");
                             for (int64_t count = 1;; count = count % 4096 + 1) {
                               auto x = std::make_unique<std::vector<float>>(static_cast<size_t>(count));
                               auto y = std::make_unique<std::vector<float>>(static_cast<size_t>(count));
                               const Message send{1 - world->rank(), tensor_of(*x)};
                               const Message receive{1 - world->rank(), tensor_of(*y)};
                               world->start_exchange({&send, 1}, {&receive, 1})->wait();
                             }
                           }),
                 DataError);
  }
}

TEST(ThreadWorld, CommunicatorsOutliveTheWorld) {
  std::shared_ptr<Communicator> alone;
  {
    ThreadWorld world(1, std::chrono::seconds(1));
    alone = world.communicator(0);
  }
  EXPECT_EQ(sum_of(*alone, 3.0), 3.0);
}

TEST(ThreadWorld, WrongSizesAreBugs) {
  EXPECT_THROW(ThreadWorld(0, std::chrono::seconds(1)), std::logic_error);
  EXPECT_THROW(ThreadWorld(2, std::chrono::seconds(1)).communicator(2), std::logic_error);
}

}  // namespace
}  // namespace ropewalk

// Calls that cannot complete: each must end with an error that names the operation and the peer, and none may hang.
#include <gtest/gtest.h>

#include "parallel/communicator/logged_communicator.h"
#include "tests/parallel/communicator/worlds.h"

namespace ropewalk {
namespace {

using testing::AssertionFailure;
using testing::AssertionResult;
using testing::AssertionSuccess;

constexpr auto kShort = std::chrono::milliseconds(100);  // for tests that wait for the deadline
constexpr auto kLong = std::chrono::seconds(60);         // for tests that must not wait for it
constexpr double kSoon = 10.0;                           // seconds; generous, because the machine may be busy

AssertionResult contains(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    if (text.find(part) == std::string::npos) return AssertionFailure() << "no '" << part << "' in: " << text;
  }
  return AssertionSuccess();
}

double seconds_of(const std::function<void()>& call) {
  const auto begin = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

class Failure : public testing::TestWithParam<int> {
 protected:
  int size() const { return GetParam(); }
  int last() const { return size() - 1; }
};

// The last rank never makes the call. The others must report it soon after the deadline, and not before.
void expect_named_when_absent(int size, const std::string& operation, const std::vector<std::string>& named,
                              const std::function<void(Communicator&)>& call) {
  run_world(
      size,
      [&](const auto& world) {
        if (world->rank() == size - 1) return;
        std::string message;
        const double seconds = seconds_of([&] { message = communication_error_of([&] { call(*world); }); });
        EXPECT_TRUE(contains(message, {operation, "not answered"})) << operation;
        EXPECT_TRUE(contains(message, named)) << operation;
        const bool is_own = contains(message, {"not answered rank " + std::to_string(world->rank()) + " for"});
        EXPECT_GE(seconds, is_own ? 0.099 : 0.0);  // a thread may report the failure of another at once
        EXPECT_LE(seconds, kSoon);
        EXPECT_NE(communication_error_of([&] { call(*world); }), "nothing was thrown") << "the group is not usable now";
        std::vector<float> x(1);
        const Message receive{0, tensor_of(x)}, from_last{size - 1, tensor_of(x)};
        const Message& any = world->rank() == 0 ? from_last : receive;
        EXPECT_NE(communication_error_of([&] {
                    world->start_exchange({}, {&any, 1});
                  }),
                  "nothing was thrown")
            << "nothing may be started either";
      },
      kShort);
}

TEST_P(Failure, ARankThatNeverJoinsIsNamed) {
  const Partition rows = Partition::even(10 * size(), size());
  const std::string absent = "rank " + std::to_string(last()) + " has not answered rank";
  expect_named_when_absent(size(), "all_reduce", {absent, "of f32 from it"}, [](Communicator& group) {
    auto x = integers<float>(0, 1000);
    group.all_reduce(tensor_of(x), Reduction::kSum);
  });
  expect_named_when_absent(size(), "reduce_scatter", {absent, "40 bytes of f32 from it"}, [&](Communicator& group) {
    std::vector<float> all(static_cast<size_t>(10 * size())), mine(10);
    group.reduce_scatter(tensor_of(all), rows, tensor_of(mine));
  });
  expect_named_when_absent(size(), "all_gather", {absent, "80 bytes of f64 from it"}, [&](Communicator& group) {
    std::vector<double> all(static_cast<size_t>(10 * size())), mine(10);
    group.all_gather(tensor_of(mine), rows, tensor_of(all));
  });
  expect_named_when_absent(size(), "split", {absent}, [](Communicator& group) { group.split(0, 0); });
  expect_named_when_absent(size(), "exchange", {absent, "12 bytes of i32 from it"}, [&](Communicator& group) {
    std::vector<int32_t> x(3);
    const Message receive{last(), tensor_of(x)};
    group.start_exchange({}, {&receive, 1})->wait();
  });
  // In these two calls some ranks do not wait for the absent rank itself.
  expect_named_when_absent(size(), "barrier", {"rank"}, [](Communicator& group) { group.barrier(); });
  expect_named_when_absent(size(), "broadcast", {"8 bytes of f32 from it"}, [&](Communicator& group) {
    std::vector<float> x(2);
    group.broadcast(tensor_of(x), last());
  });
}

// Rank 0 sends, rank 1 expects something else and must report it at once, not after the deadline.
template <typename Sent, typename Expected>
void expect_refused(int size, int64_t sent, int64_t expected, const std::vector<std::string>& named) {
  run_world(
      size,
      [&](const auto& world) {
        std::vector<Sent> outgoing(static_cast<size_t>(sent));
        std::vector<Expected> incoming(static_cast<size_t>(expected + 10), Expected(7));
        const Message send{1, tensor_of(outgoing)}, receive{0, tensor_of(incoming).slice(0, expected)};
        if (world->rank() == 1) {
          const std::string message = communication_error_of([&] { world->start_exchange({}, {&receive, 1})->wait(); });
          EXPECT_TRUE(contains(message, {"rank 0", "rank 1", "exchange (operation 1)"}));
          EXPECT_TRUE(contains(message, named));
          EXPECT_FALSE(contains(message, {"answered"})) << message;
          EXPECT_EQ(incoming, std::vector<Expected>(incoming.size(), Expected(7))) << "something was received";
        }
        // The error of the sender depends on the transport: a short message may have left before it was checked.
        if (world->rank() == 0) communication_error_of([&] { world->start_exchange({&send, 1}, {})->wait(); });
      },
      std::chrono::seconds(2));
}

// Short messages, which a transport may send eagerly, and long ones, which MPI libraries treat differently.
TEST_P(Failure, SizesThatDoNotMatchAreNamed) {
  expect_refused<float, float>(size(), 10, 12, {"40 bytes of f32", "48 bytes of f32"});
  expect_refused<float, float>(size(), 12, 10, {"48 bytes of f32", "40 bytes of f32"});
  expect_refused<float, float>(size(), 0, 1, {"0 bytes of f32", "4 bytes of f32"});
  expect_refused<float, float>(size(), 300000, 100000, {"1200000 bytes of f32", "400000 bytes of f32"});
}

TEST_P(Failure, TypesThatDoNotMatchAreNamed) {
  expect_refused<float, int32_t>(size(), 10, 10, {"40 bytes of f32", "40 bytes of i32"});
  expect_refused<double, float>(size(), 10, 20, {"80 bytes of f64", "80 bytes of f32"});
}

// Two messages between the same ranks, which the receiver lists in the other order.
TEST_P(Failure, OrdersThatDoNotMatchAreNamed) {
  run_world(
      size(),
      [&](const auto& world) {
        std::vector<float> few(10), many(20);
        const std::vector<Message> sends = {{1, tensor_of(few)}, {1, tensor_of(many)}};
        const std::vector<Message> receives = {{0, tensor_of(many)}, {0, tensor_of(few)}};
        if (world->rank() == 0) communication_error_of([&] { world->start_exchange(sends, {})->wait(); });
        if (world->rank() == 1) {
          const std::string message = communication_error_of([&] { world->start_exchange({}, receives)->wait(); });
          EXPECT_TRUE(contains(message, {"40 bytes of f32", "80 bytes of f32", "rank 0", "rank 1"}));
        }
      },
      std::chrono::seconds(2));
}

// Within a collective the transport cannot know at once that a message will never be received.
TEST_P(Failure, CollectivesOfDifferentSizesAreNamed) {
  run_world(
      size(),
      [&](const auto& world) {
        std::vector<float> x(static_cast<size_t>(size() * (world->rank() == 0 ? 10 : 20)));
        const std::string message = communication_error_of([&] { world->all_reduce(tensor_of(x), Reduction::kSum); });
        EXPECT_TRUE(contains(message, {"40 bytes of f32", "80 bytes of f32", "all_reduce (operation 1)", "rank 0"}));
      },
      std::chrono::milliseconds(500));
}

TEST_P(Failure, DifferentOperationsAreNamed) {
  run_world(
      size(),
      [&](const auto& world) {
        std::vector<float> x(static_cast<size_t>(size()));
        const std::string message = communication_error_of([&] {
          if (world->rank() == 0) world->broadcast(tensor_of(x), 1);
          if (world->rank() != 0) world->all_reduce(tensor_of(x), Reduction::kSum);
        });
        if (world->rank() != 0) return;  // the others may only report that rank 0 did not respond
        EXPECT_TRUE(contains(message, {"broadcast (operation 1)", "all_reduce (operation 1)"}));
        EXPECT_FALSE(contains(message, {"answered"})) << message;
      },
      std::chrono::seconds(1));
}

// The same operation, but rank 0 has skipped the one before. Without sequence numbers the result would be wrong data.
TEST_P(Failure, ASkippedOperationIsNoticed) {
  run_world(
      size(),
      [&](const auto& world) {
        std::vector<float> x(4), y(4);
        const int next = (world->rank() + 1) % size(), previous = (world->rank() + last()) % size();
        const auto exchange = [&] {
          const Message send{next, tensor_of(x)}, receive{previous, tensor_of(y)};
          world->start_exchange({&send, 1}, {&receive, 1})->wait();
        };
        const auto calls = [&] {
          if (world->rank() != 0) world->start_exchange({}, {})->wait();
          exchange();
        };
        if (world->rank() != 1) return void(communication_error_of(calls));
        EXPECT_TRUE(contains(communication_error_of(calls), {"exchange", "operation 1", "operation 2", "rank 0"}));
      },
      kShort);
}

TEST_P(Failure, MessagesToOneselfMustMatchToo) {
  run_world(size(), [](const auto& world) {
    std::vector<float> three(3), four(4);
    const Message send{world->rank(), tensor_of(three)}, receive{world->rank(), tensor_of(four)};
    const auto sizes = [&] { world->start_exchange({&send, 1}, {&receive, 1})->wait(); };
    EXPECT_TRUE(contains(communication_error_of(sizes), {"12 bytes of f32", "16 bytes of f32"}));
    const auto count = [&] { world->start_exchange({&send, 1}, {})->wait(); };
    EXPECT_TRUE(contains(communication_error_of(count), {"1 sends", "0 receives"}));
  });
}

// One rank makes a different call, and checked groups name it before any data has moved.
TEST_P(Failure, CheckedGroupsRefuseDifferentCallsByName) {
  struct Case {
    std::vector<std::string> named;
    std::function<void(Communicator&)> odd;
  };
  std::vector<float> x(8), y(9);
  std::vector<double> wide(8);
  const std::vector<Case> cases = {
      {{"#2 all_reduce of 9 f32 (sum)"}, [&](Communicator& group) { group.all_reduce(tensor_of(y), Reduction::kSum); }},
      {{"#2 all_reduce of 8 f64 (sum)"},
       [&](Communicator& group) { group.all_reduce(tensor_of(wide), Reduction::kSum); }},
      {{"#2 all_reduce of 8 f32 (maximum)"},
       [&](Communicator& group) { group.all_reduce(tensor_of(x), Reduction::kMax); }},
      {{"#2 broadcast of 8 f32 from rank 0"}, [&](Communicator& group) { group.broadcast(tensor_of(x), 0); }},
      {{"#2 barrier"}, [&](Communicator& group) { group.barrier(); }},
      {{"#2 exchange"}, [&](Communicator& group) { group.start_exchange({}, {})->wait(); }},
  };
  for (const Case& odd_case : cases) {
    run_world(
        size(),
        [&](const auto& world) {
          std::vector<float> usual(8);
          LoggedCommunicator group(world, "tensor", true);
          group.barrier();
          const bool is_odd = group.rank() == last();
          const std::string message = communication_error_of([&] {
            if (is_odd) return odd_case.odd(group);
            group.all_reduce(tensor_of(usual), Reduction::kSum);
          });
          EXPECT_TRUE(contains(message, odd_case.named));
          EXPECT_TRUE(contains(message, {"#2 all_reduce of 8 f32 (sum)", "axis tensor"}));
          if (!is_odd) {
            EXPECT_TRUE(contains(message, {"rank " + std::to_string(last()) + " calls"}));
          }
        },
        kLong);
  }
}

TEST_P(Failure, ErrorsCarryTheLastOperationsOfTheAxis) {
  run_world(
      size(),
      [&](const auto& world) {
        LoggedCommunicator group(world, "sequence");
        std::vector<float> x(6);
        for (int i = 0; i < 50; ++i) group.barrier();
        group.broadcast(tensor_of(x), 0);
        if (world->rank() == last()) return;
        const std::string message = communication_error_of([&] { group.all_reduce(tensor_of(x), Reduction::kSum); });
        EXPECT_TRUE(contains(
            message, {"on axis sequence\n", "operations of rank " + std::to_string(world->rank()),
                      "\n    broadcast of 6 f32 from rank 0, ", "\n    all_reduce of 6 f32 (sum), not finished"}));
        int barriers = 0;
        for (size_t at = 0; (at = message.find("\n    barrier, ", at)) != std::string::npos; ++at) ++barriers;
        EXPECT_EQ(barriers, 6) << "the last 8 operations are kept";
      },
      kShort);
}

// A group whose first rank is the last rank of the world; that rank is absent.
TEST_P(Failure, RanksOfAGroupAreNamedAsTheWorldCounts) {
  run_world(
      size(),
      [&](const auto& world) {
        const auto reversed = world->split(0, -world->rank());
        if (world->rank() == last()) return;
        EXPECT_EQ(reversed->name(0), "rank " + std::to_string(last()));
        std::vector<float> x(3);
        const Message receive{0, tensor_of(x)};
        const std::string message = communication_error_of([&] {
          reversed->start_exchange({}, {&receive, 1})->wait();
        });
        EXPECT_TRUE(contains(message, {"rank " + std::to_string(last()) + " has not answered rank"}));
      },
      kShort);
}

// After a failure of the group progress() throws, as wait() does.
TEST_P(Failure, ProgressTellsOfAGroupThatHasFailed) {
  run_world(
      size(),
      [&](const auto& world) {
        if (world->rank() == last()) return;
        std::vector<float> x(3), y(3);
        const Message first{last(), tensor_of(x)}, second{last(), tensor_of(y)};
        const auto open = world->start_exchange({}, {&first, 1});
        EXPECT_NE(communication_error_of([&] {
                    world->start_exchange({}, {&second, 1})->wait();
                  }),
                  "nothing was thrown");
        EXPECT_TRUE(contains(communication_error_of([&] { open->progress(); }), {"not answered"}));
      },
      kShort);
}

// When the failure handler is called, the buffers of outstanding messages still exist.
TEST_P(Failure, IsShownToTheHandlerBeforeAnythingIsUnwound) {
  run_world(
      size(),
      [&](const auto& world) {
        if (world->rank() == last()) return;
        bool alive = false;
        std::string told;
        struct Owner {
          explicit Owner(bool& flag) : alive(flag) { alive = true; }
          ~Owner() { alive = false; }
          bool& alive;
        };
        const auto on_failure = [&](const PeerError& error) {
          EXPECT_TRUE(alive);
          told = error.what();
        };
        LoggedCommunicator group(world, "world", false, on_failure);
        const std::string thrown = communication_error_of([&] {
          const Owner owner(alive);
          group.split("tensor", 0, 0);
        });
        EXPECT_FALSE(alive);
        EXPECT_EQ(told, thrown);
      },
      kShort);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Failure);  // a job of one rank
INSTANTIATE_TEST_SUITE_P(Sizes, Failure, testing::ValuesIn(world_sizes_with_peers()),
                         [](const auto& instance) { return "ranks_" + std::to_string(instance.param); });

}  // namespace
}  // namespace ropewalk

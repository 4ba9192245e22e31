// The behaviour of NCCL communicators that the contract suite does not cover. When a peer does not respond, makes
// another call, or the job is ending, the device is freed, and the waiting rank gets an error. Calls whose results are
// needed later do not delay others.
#include "parallel/cuda/emulation/nccl.h"

#include <gtest/gtest.h>

#include <atomic>

#include "kernels/clock.h"
#include "kernels/cuda/cuda_backend.h"
#include "parallel/cuda/nccl_communicator.h"
#include "tests/parallel/communicator/worlds.h"
#include "tests/support/ranks.h"

namespace ropewalk {
namespace {

constexpr std::chrono::milliseconds kShort{100}, kLong{60'000};
constexpr double kSoon = 10.0;  // seconds; generous, for busy machines

struct NcclRankOnThread {
  explicit NcclRankOnThread(const std::shared_ptr<Communicator>& host, const WorldOptions& options)
      : world(cuda_emulated::make_nccl_world(host, runtime, options)) {}
  Tensor tensor(int64_t count) {
    buffers.push_back(kernels.allocate(count * 4));
    const Tensor x(buffers.back()->data(), DType::kF32, kernels.device(), {count});
    kernels.fill(x, 1);
    return x;
  }
  Kernels kernels{std::make_unique<cuda_emulated::CudaBackend>(BackendOptions{})};
  cuda_emulated::Runtime& runtime = dynamic_cast<cuda_emulated::CudaBackend&>(kernels.backend()).runtime();
  std::vector<std::unique_ptr<Buffer>> buffers;
  std::shared_ptr<Communicator> world;
};

// The error that a rank gets from the call or from waiting for its device.
PeerError error_of(NcclRankOnThread& rank, const std::function<void()>& call) {
  try {
    call();
    rank.kernels.synchronize();
  } catch (const PeerError& error) {
    return error;
  }
  return PeerError("nothing was thrown");
}

TEST(NcclFailure, ARankThatNeverJoinsIsWaitedForUntilTheDeadline) {
  run_ranks(3, [](const auto& host) {
    NcclRankOnThread rank(host, {kShort});
    if (host->rank() == 2) return;
    const Tensor x = rank.tensor(1000);
    const double begin = steady_seconds();
    const PeerError error = error_of(rank, [&] { rank.world->all_reduce(x, Reduction::kSum); });
    const std::string message = error.what();
    if (message.find("remote process exited") == std::string::npos) {  // the other rank gave up first
      EXPECT_NE(
          message.find("rank " + std::to_string(host->rank()) + " has not finished all_reduce of 4000 bytes of f32"),
          std::string::npos)
          << message;
      EXPECT_GE(steady_seconds() - begin, 0.099);
      EXPECT_EQ(error.unresponsive.ranks, (host->rank() == 0 ? std::vector{1, 2} : std::vector{0, 2}));
    }
    EXPECT_LE(steady_seconds() - begin, kSoon);
    EXPECT_NE(communication_error_of([&] { rank.world->all_reduce(x, Reduction::kSum); }).find("has failed before"),
              std::string::npos)
        << "the group is not usable now";
  });
}

TEST(NcclFailure, WorkOfTheDeviceItselfHasAllTheTimeItTakes) {
  run_ranks(2, [](const auto& host) {
    NcclRankOnThread rank(host, {kShort});
    const Tensor x = rank.tensor(8);
    rank.runtime.stream()->run([] { std::this_thread::sleep_for(5 * kShort); });
    rank.world->all_reduce(x, Reduction::kSum);
    rank.kernels.synchronize();
    std::vector<float> sums(8);
    rank.kernels.download(x, sums.data());
    EXPECT_EQ(sums, std::vector<float>(8, 2.0f));
  });
}

// Rank 2 starts its reduce-scatter only after the others have completed an all-reduce that they called after theirs.
TEST(NcclLanes, WhatIsNeededNowGoesPastWhatIsNeededLater) {
  run_ranks(3, [](const auto& host) {
    NcclRankOnThread rank(host, {kLong});
    const auto early = rank.world->split(host->rank() == 2, 0);
    const Partition cut = Partition::even(300, 3);
    const Tensor all = rank.tensor(300), mine = rank.tensor(100), x = rank.tensor(8);
    if (host->rank() == 2) host->barrier();
    const auto sum = rank.world->start_reduce_scatter(all, cut, mine);
    if (host->rank() != 2) {
      early->all_reduce(x, Reduction::kSum);
      std::vector<float> sums(8);
      rank.kernels.download(x, sums.data());
      EXPECT_EQ(sums, std::vector<float>(8, 2.0f));
      EXPECT_FALSE(sum->progress());
      host->barrier();
    }
    sum->wait();
    std::vector<float> sums(100);
    rank.kernels.download(mine, sums.data());
    EXPECT_EQ(sums, std::vector<float>(100, 3.0f));
  });
}

// Calls of one group keep their order, whenever their results are needed.
TEST(NcclLanes, CallsOfAGroupKeepTheirOrder) {
  run_ranks(2, [](const auto& host) {
    NcclRankOnThread rank(host, {kLong});
    const Partition cut = Partition::even(2000, 2);
    const Tensor all = rank.tensor(2000), mine = rank.tensor(1000), x = rank.tensor(1000);
    std::vector<std::unique_ptr<Transfer>> sums;
    for (int i = 0; i < 20; ++i) {
      sums.push_back(rank.world->start_reduce_scatter(all, cut, mine));
      rank.world->all_reduce(x, Reduction::kSum);
    }
    for (const auto& sum : sums) sum->wait();
    std::vector<float> values(1000);
    rank.kernels.download(x, values.data());
    EXPECT_EQ(values, std::vector<float>(1000, 1 << 20));
    rank.kernels.download(mine, values.data());
    EXPECT_EQ(values, std::vector<float>(1000, 2.0f));
  });
}

// For calls whose results are needed later, too, a rank waits for its peers only until the deadline.
TEST(NcclLanes, ASumThatNobodyJoinsIsTold) {
  run_ranks(2, [](const auto& host) {
    NcclRankOnThread rank(host, {kShort});
    const Tensor all = rank.tensor(2000), mine = rank.tensor(1000);
    if (host->rank() == 1) return;
    const PeerError error =
        error_of(rank, [&] { rank.world->start_reduce_scatter(all, Partition::even(2000, 2), mine)->wait(); });
    const std::string message = error.what();
    EXPECT_TRUE(message.find("rank 0 has not finished reduce_scatter of 8000 bytes of f32") != std::string::npos ||
                message.find("remote process exited") != std::string::npos)
        << message;
  });
}

// A rank without messages cannot know that the others' messages are on devices.
TEST(NcclLanes, AnExchangeOfSomeRanksLeavesTheHostsInStep) {
  run_ranks(3, [](const auto& host) {
    NcclRankOnThread rank(host, {kLong});
    const Tensor sent = rank.tensor(8), received = rank.tensor(8);
    const int peer = 1 - host->rank();
    std::vector<Message> sends, receives;
    if (host->rank() < 2) {
      sends.push_back({peer, sent});
      receives.push_back({peer, received});
    }
    rank.world->start_exchange(sends, receives)->wait();
    EXPECT_EQ(sum_of(*rank.world, 1.0), 3);
    rank.kernels.synchronize();
  });
}

// NCCL does not report different sizes: it hangs.
TEST(NcclFailure, RanksThatDisagreeEndWithTheDeadline) {
  run_ranks(2, [](const auto& host) {
    NcclRankOnThread rank(host, {kShort});
    const Tensor x = rank.tensor(host->rank() == 0 ? 10 : 20);
    const std::string message = error_of(rank, [&] { rank.world->all_reduce(x, Reduction::kSum); }).what();
    EXPECT_NE(message.find(fmt::format("all_reduce of {} bytes of f32", x.bytes())), std::string::npos) << message;
  });
}

TEST(NcclFailure, APeerThatHasGivenUpIsToldOfAtOnce) {
  run_ranks(2, [](const auto& host) {
    NcclRankOnThread rank(host, {host->rank() == 0 ? kLong : kShort});
    const Tensor x = rank.tensor(10);
    const double begin = steady_seconds();
    const Message receive{1 - host->rank(), x};  // which nobody sends
    const std::string message = error_of(rank, [&] { rank.world->start_exchange({}, {&receive, 1})->wait(); }).what();
    if (host->rank() == 0) {
      EXPECT_NE(message.find("NCCL: remote process exited"), std::string::npos) << message;
    }
    EXPECT_LE(steady_seconds() - begin, kSoon);
  });
}

// Several operations hang, in several groups. The handler gets the error before the stack is unwound.
TEST(NcclFailure, IsShownToTheHandlerFirst) {
  run_ranks(2, [](const auto& host) {
    std::string told;
    NcclRankOnThread rank(host, {kShort, {}, {}, [&](const PeerError& error) { told = error.what(); }});
    const auto group = rank.world->split(0, 0), other = rank.world->split(0, -host->rank());
    if (host->rank() == 1) return;
    const Tensor x = rank.tensor(10), y = rank.tensor(20);
    const std::string message = error_of(rank, [&] {
                                  group->all_reduce(x, Reduction::kSum);
                                  other->all_reduce(y, Reduction::kSum);
                                  rank.world->all_reduce(x, Reduction::kSum);
                                }).what();
    EXPECT_EQ(told, message);
    EXPECT_NE(message.find("all_reduce of 40 bytes"), std::string::npos) << message;
  });
}

// For NCCL's own buffers. No peer has failed; the others get the error that a rank has left.
TEST(NcclFailure, NoMemoryIsToldAsSuch) {
  for (const char* words : {"Cuda failure 2 'out of memory'", "Failed to CUDA calloc async 4194304 bytes"})
    run_ranks(2, [&](const auto& host) {
      bool told = false;
      NcclRankOnThread rank(host, {kLong, {}, {}, [&](const PeerError&) { told = true; }});
      const Tensor x = rank.tensor(10);
      if (host->rank() == 1) {
        const std::string message = error_of(rank, [&] { rank.world->all_reduce(x, Reduction::kSum); }).what();
        EXPECT_NE(message.find("remote process exited"), std::string::npos) << message;
        return;
      }
      cuda_emulated::fail_next_group(cuda_emulated::ncclUnhandledCudaError, words);
      try {
        rank.world->all_reduce(x, Reduction::kSum);
        ADD_FAILURE() << "nothing was thrown";
      } catch (const OutOfMemory& error) {
        EXPECT_NE(std::string(error.what())
                      .find(fmt::format("rank 0 in all_reduce of 40 bytes of f32: NCCL: an error: {}", words)),
                  std::string::npos)
            << error.what();
      }
      EXPECT_FALSE(told);
      cuda_emulated::fail_next_group(cuda_emulated::ncclSuccess, "");
    });
}

// When an exception destroys a group, all of the rank's groups are aborted and cannot be used any more.
TEST(NcclFailure, AGroupThatIsLeftInAFailureLeavesNoneBehind) {
  run_ranks(2, [](const auto& host) {
    NcclRankOnThread rank(host, {kLong});
    const Tensor x = rank.tensor(10);
    try {
      const auto group = rank.world->split(0, host->rank());
      throw std::runtime_error("something else");
    } catch (const std::runtime_error&) {
    }
    EXPECT_NE(communication_error_of([&] { rank.world->all_reduce(x, Reduction::kSum); }).find("has left its groups"),
              std::string::npos);
  });
}

TEST(NcclFailure, AJobThatIsEndingIsNotWaitedFor) {
  run_ranks(2, [](const auto& host) {
    std::atomic<bool> ending = false;
    NcclRankOnThread rank(host, {kLong, {}, [&] { return ending.load(); }});
    if (host->rank() == 1) return;
    const Tensor x = rank.tensor(10);
    const Message receive{1, x};
    ending = true;
    const std::string message = error_of(rank, [&] { rank.world->start_exchange({}, {&receive, 1})->wait(); }).what();
    EXPECT_NE(message.find("has not finished an exchange of 40 bytes with 1 rank"), std::string::npos) << message;
  });
}

TEST(NcclFailure, ProgressTellsToo) {
  run_ranks(2, [](const auto& host) {
    NcclRankOnThread rank(host, {kShort});
    if (host->rank() == 1) return;
    const Tensor x = rank.tensor(10);
    const Message receive{1, x};
    const auto exchange = rank.world->start_exchange({}, {&receive, 1});
    const double begin = steady_seconds();
    std::string message = "nothing was thrown";
    while (message == "nothing was thrown" && steady_seconds() - begin < kSoon)
      message = communication_error_of([&] { exchange->progress(); });
    EXPECT_NE(message.find("has not finished an exchange"), std::string::npos) << message;
  });
}

}  // namespace
}  // namespace ropewalk

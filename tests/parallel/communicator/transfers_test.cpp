// The contract of every transport for exchanges and collectives that are in flight while a rank does other things.
// Integers make all sums exact, so everything is compared bitwise.
#include <gtest/gtest.h>

#include <thread>

#include "parallel/communicator/progress_engine.h"
#include "tests/parallel/communicator/worlds.h"

namespace ropewalk {
namespace {

class Transfers : public testing::TestWithParam<int> {
 protected:
  int size() const { return GetParam(); }
};

// Several exchanges in flight, waited for in any order, with collectives between: what the ring and the halo do.
TEST_P(Transfers, ExchangesInFlightDoNotMeetOtherCalls) {
  run_world(size(), [this](const auto& world) {
    constexpr int kExchanges = 4;
    constexpr int64_t kCount = 40000;  // beyond what any transport sends eagerly
    const int next = (world->rank() + 1) % size(), previous = (world->rank() + size() - 1) % size();
    std::vector<std::vector<float>> outgoing, incoming(kExchanges, std::vector<float>(kCount));
    std::vector<std::unique_ptr<Transfer>> exchanges;
    for (int i = 0; i < kExchanges; ++i) outgoing.push_back(integers<float>(world->rank() * kExchanges + i, kCount));
    for (int i = 0; i < kExchanges; ++i) {
      const auto index = static_cast<size_t>(i);
      const Message send{next, tensor_of(outgoing[index])}, receive{previous, tensor_of(incoming[index])};
      exchanges.push_back(world->start_exchange({&send, 1}, {&receive, 1}));
      if (world->rank() % 2 == 1) {  // only these ranks poll
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        exchanges.back()->progress();
      }
      if (i % 2 == 0) {
        EXPECT_EQ(maximum_of(*world, world->rank()),
                  size() - 1);  // a host tensor; the exchanges may be of device tensors
      }
      EXPECT_EQ(sum_of(*world, 1.0), size());
    }
    const bool backwards = world->rank() % 2 == 1;
    for (int i = 0; i < kExchanges; ++i) exchanges[static_cast<size_t>(backwards ? kExchanges - 1 - i : i)]->wait();
    for (int i = 0; i < kExchanges; ++i) {
      EXPECT_TRUE(same_bits(incoming[static_cast<size_t>(i)], integers<float>(previous * kExchanges + i, kCount)));
    }
  });
}

// A large message travels while both of its ranks compute and poll, and neither waits.
TEST_P(Transfers, ProgressMovesMessagesWhileRanksCompute) {
  run_world(size(), [this](const auto& world) {
    constexpr int64_t kCount = 3'000'000;
    auto outgoing = integers<float>(world->rank(), kCount);
    std::vector<float> incoming(outgoing.size());
    const int next = (world->rank() + 1) % size(), previous = (world->rank() + size() - 1) % size();
    const Message send{next, tensor_of(outgoing)}, receive{previous, tensor_of(incoming)};
    const auto exchange = world->start_exchange({&send, 1}, {&receive, 1});
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    bool done = false;
    while (!done && std::chrono::steady_clock::now() < patience) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // stands for work
      done = exchange->progress();
    }
    ASSERT_TRUE(done) << "nothing moves but in the wait";
    EXPECT_TRUE(exchange->progress()) << "done stays done";
    exchange->wait();
    EXPECT_TRUE(same_bits(incoming, integers<float>(previous, kCount)));
  });
}

// Reduce-scatters and all-gathers in flight during other calls, of many segments (host_communicator.cpp: 1 MiB) and of
// few, polled by some ranks only, waited for in any order: what the optimizer does.
TEST_P(Transfers, CollectivesInFlightDoNotMeetOtherCalls) {
  run_world(size(), [this](const auto& world) {
    const std::vector<int64_t> parts = {int64_t{5 << 16} + 3, 7, int64_t{3 << 17}, 0, 1000};
    const auto pieces = parts.size();
    std::vector<Partition> cut;
    std::vector<std::vector<double>> sums, shares, gathered;
    std::vector<std::unique_ptr<Transfer>> transfers;
    const auto value = [](int rank, size_t piece) { return 16 * rank + static_cast<int>(piece); };
    for (size_t piece = 0; piece < pieces; ++piece) {
      cut.push_back(Partition::even(parts[piece] * size() + static_cast<int64_t>(piece % 2), size()));
      sums.push_back(integers<double>(value(world->rank(), piece), cut[piece].total()));
      shares.push_back(integers<double>(value(world->rank(), piece), cut[piece].size(world->rank())));
      gathered.emplace_back(sums[piece].size(), -1.0);
    }
    for (size_t piece = 0; piece < pieces; ++piece) {
      const Tensor all = tensor_of(sums[piece]);
      const Tensor mine = all.slice(cut[piece].begin(world->rank()), cut[piece].end(world->rank()));
      transfers.push_back(world->start_reduce_scatter(all, cut[piece], mine));
      transfers.push_back(world->start_all_gather(tensor_of(shares[piece]), cut[piece], tensor_of(gathered[piece])));
      if (world->rank() % 2 == 1) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        for (size_t i = transfers.size(); i-- > 0;) transfers[i]->progress();
      }
      EXPECT_EQ(sum_of(*world, 1.0), size());
      auto x = integers<float>(world->rank(), 70001);
      world->all_reduce(tensor_of(x), Reduction::kSum);
      EXPECT_TRUE(same_bits(x, sum_in_rank_order<float>(size(), 70001, integers<float>)));
    }
    const bool backwards = world->rank() % 2 == 1;
    for (size_t i = 0; i < transfers.size(); ++i) transfers[backwards ? transfers.size() - 1 - i : i]->wait();
    for (size_t piece = 0; piece < pieces; ++piece) {
      const auto input = [&](int rank, int64_t count) { return integers<double>(value(rank, piece), count); };
      const auto sum = sum_in_rank_order<double>(size(), cut[piece].total(), input);
      auto expected = input(world->rank(), cut[piece].total());  // rows of other ranks are unchanged
      std::copy(sum.begin() + cut[piece].begin(world->rank()), sum.begin() + cut[piece].end(world->rank()),
                expected.begin() + cut[piece].begin(world->rank()));
      EXPECT_TRUE(same_bits(sums[piece], expected)) << "piece " << piece;
      std::vector<double> everyones;
      for (int rank = 0; rank < size(); ++rank)
        for (double x : input(rank, cut[piece].size(rank))) everyones.push_back(x);
      EXPECT_TRUE(same_bits(gathered[piece], everyones)) << "piece " << piece;
    }
  });
}

TEST_P(Transfers, ProgressFinishesASumWhileRanksCompute) {
  run_world(size(), [this](const auto& world) {
    const Partition cut = Partition::even(3'000'000, size());
    auto all = integers<float>(world->rank(), cut.total());
    const Tensor mine = tensor_of(all).slice(cut.begin(world->rank()), cut.end(world->rank()));
    const auto transfer = world->start_reduce_scatter(tensor_of(all), cut, mine);
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    bool done = false;
    while (!done && std::chrono::steady_clock::now() < patience) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      done = transfer->progress();
    }
    ASSERT_TRUE(done) << "nothing moves but in the wait";
    EXPECT_TRUE(transfer->progress()) << "done stays done";
    transfer->wait();
    const auto sum = sum_in_rank_order<float>(size(), cut.total(), integers<float>);
    EXPECT_TRUE(
        same_bits(std::vector<float>(all.begin() + cut.begin(world->rank()), all.begin() + cut.end(world->rank())),
                  std::vector<float>(sum.begin() + cut.begin(world->rank()), sum.begin() + cut.end(world->rank()))));
  });
}

TEST_P(Transfers, ASumThatIsDroppedIsWaitedFor) {
  run_world(size(), [this](const auto& world) {
    const Partition cut = Partition::even(1'000'000, size());
    auto all = integers<float>(world->rank(), cut.total());
    std::vector<float> mine(static_cast<size_t>(cut.size(world->rank())));
    world->start_reduce_scatter(tensor_of(all), cut, tensor_of(mine)).reset();
    const auto sum = sum_in_rank_order<float>(size(), cut.total(), integers<float>);
    EXPECT_TRUE(same_bits(
        mine, std::vector<float>(sum.begin() + cut.begin(world->rank()), sum.begin() + cut.end(world->rank()))));
  });
}

// A rank may start later calls while another still waits for an earlier one, for any time: that is no error.
TEST_P(Transfers, ARankMayBeAhead) {
  if (size() == 1) return;
  run_world(size(), [](const auto& world) {
    std::vector<float> large(100000), small(10);
    if (world->rank() == 0) {
      large = integers<float>(0, 100000);
      const Message send{1, tensor_of(large)}, receive{1, tensor_of(small)};
      world->start_exchange({&send, 1}, {})->wait();
      world->start_exchange({}, {&receive, 1})->wait();
      EXPECT_TRUE(same_bits(small, integers<float>(1, 10)));
    }
    if (world->rank() == 1) {
      small = integers<float>(1, 10);
      const Message receive{0, tensor_of(large)}, send{0, tensor_of(small)};
      const auto first = world->start_exchange({}, {&receive, 1});
      const auto second = world->start_exchange({&send, 1}, {});
      std::this_thread::sleep_for(std::chrono::milliseconds(250));
      first->wait();
      second->wait();
      EXPECT_TRUE(same_bits(large, integers<float>(0, 100000)));
    }
  });
}

TEST_P(Transfers, AnExchangeThatIsDroppedIsWaitedFor) {
  run_world(size(), [this](const auto& world) {
    auto outgoing = integers<float>(world->rank(), 30000);
    std::vector<float> incoming(outgoing.size());
    const int next = (world->rank() + 1) % size(), previous = (world->rank() + size() - 1) % size();
    const Message send{next, tensor_of(outgoing)}, receive{previous, tensor_of(incoming)};
    world->start_exchange({&send, 1}, {&receive, 1}).reset();
    EXPECT_TRUE(same_bits(incoming, integers<float>(previous, 30000)));
  });
}

// A sum that cannot complete, because a rank is late, does not hold up later calls: the late rank starts the sum only
// after a message that the others send when their later calls are complete.
TEST_P(Transfers, WhatIsNeededNowGoesPastThem) {
  if (size() < 3 || !starts_are_overtaken()) return;
  run_world(size(), [this](const auto& world) {
    const int late = size() - 1;
    const auto early = world->split(world->rank() == late, 0);
    const Partition cut = Partition::even(500'000, size());
    auto all = integers<float>(world->rank(), cut.total());
    std::vector<float> mine(static_cast<size_t>(cut.size(world->rank())));
    const auto others = world->split(0, 0);  // a separate group, so that all ranks make the same calls in each
    world->reduce_scatter(tensor_of(all), cut, tensor_of(mine));  // in the first call ranks may wait for each other
    std::vector<float> signal = {1.0f};
    if (world->rank() == late) {
      const Message receive{0, tensor_of(signal)};
      others->start_exchange({}, {&receive, 1})->wait();
      EXPECT_EQ(signal.front(), static_cast<float>(late));
    }
    const auto sum = world->start_reduce_scatter(tensor_of(all), cut, tensor_of(mine));
    if (world->rank() != late) {
      early->all_reduce(tensor_of(signal), Reduction::kSum);
      EXPECT_EQ(signal.front(), static_cast<float>(late));
      const Message send{late, tensor_of(signal)};
      if (world->rank() == 0) others->start_exchange({&send, 1}, {})->wait();
      if (world->rank() != 0) others->start_exchange({}, {})->wait();
    }
    sum->wait();
    const auto expected = sum_in_rank_order<float>(size(), cut.total(), integers<float>);
    EXPECT_TRUE(same_bits(mine, std::vector<float>(expected.begin() + cut.begin(world->rank()),
                                                   expected.begin() + cut.end(world->rank()))));
  });
}

// Rank 0 waits for a sum of many segments while the others wait for rank 0 in another group. Their wait must poll the
// sum, or no rank could continue.
TEST_P(Transfers, WhoWaitsForAnotherPollsWhatIsInFlight) {
  run_world(size(), [this](const auto& world) {
    const auto group = world->split(0, 0);
    const Partition cut = Partition::even(1'000'000 * size(), size());
    auto all = integers<double>(world->rank(), cut.total());
    const Tensor mine = tensor_of(all).slice(cut.begin(world->rank()), cut.end(world->rank()));
    const auto sum = world->progress_engine().track(world->start_reduce_scatter(tensor_of(all), cut, mine));
    std::vector<float> signal = {1.0f};
    if (world->rank() == 0) {
      sum->wait();
      std::vector<Message> sends;
      for (int peer = 1; peer < size(); ++peer) sends.push_back({peer, tensor_of(signal)});
      group->start_exchange(sends, {})->wait();
    } else {
      const Message receive{0, tensor_of(signal)};
      group->start_exchange({}, {&receive, 1})->wait();
      sum->wait();
    }
    auto expected = integers<double>(world->rank(), cut.total());  // rows of other ranks are unchanged
    const auto total = sum_in_rank_order<double>(size(), cut.total(), integers<double>);
    std::copy(total.begin() + cut.begin(world->rank()), total.begin() + cut.end(world->rank()),
              expected.begin() + cut.begin(world->rank()));
    EXPECT_TRUE(same_bits(all, expected));
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, Transfers, testing::ValuesIn(world_sizes()),
                         [](const auto& instance) { return "ranks_" + std::to_string(instance.param); });

}  // namespace
}  // namespace ropewalk

// The contract of every transport. Integers make all sums exact, so everything is compared bitwise.
#include <gtest/gtest.h>

#include <limits>
#include <thread>

#include "kernels/bfloat16.h"
#include "tests/parallel/communicator/worlds.h"

namespace ropewalk {
namespace {

class Contract : public testing::TestWithParam<int> {
 protected:
  int size() const { return GetParam(); }
};

template <typename T>
void expect_exact_sums(Communicator& group, int64_t count) {
  std::vector<T> x = integers<T>(group.rank(), count);
  group.all_reduce(tensor_of(x), Reduction::kSum);
  EXPECT_TRUE(same_bits(x, sum_in_rank_order<T>(group.size(), count, integers<T>))) << count << " of " << sizeof(T);
}

TEST_P(Contract, AllReduceAddsExactly) {
  run_world(size(), [](const auto& world) {
    for (const int64_t count : {0, 1, 2, 3, 7, 1000, 1023, 1025, 70001}) {
      expect_exact_sums<float>(*world, count);
      expect_exact_sums<double>(*world, count);
      expect_exact_sums<int32_t>(*world, count);
    }
  });
}

// Two and a half segments of every part (host_communicator.cpp: 1 MiB), so that both halves of the scratch are used
// twice.
TEST_P(Contract, AllReduceOfManySegments) {
  const int64_t count = size() * int64_t{5 << 16} + 1;
  const auto expected = sum_in_rank_order<double>(size(), count, integers<double>);
  run_world(size(), [&](const auto& world) {
    auto x = integers<double>(world->rank(), count);
    world->all_reduce(tensor_of(x), Reduction::kSum);
    EXPECT_TRUE(same_bits(x, expected));
  });
}

// The order of addition is part of the contract: 0, 1, 2, ..., on every rank and every transport.
template <typename T>
void expect_rank_order(Communicator& group, int64_t count) {
  std::vector<T> x = rough_values<T>(group.rank(), count);
  group.all_reduce(tensor_of(x), Reduction::kSum);
  EXPECT_TRUE(same_bits(x, sum_in_rank_order<T>(group.size(), count, rough_values<T>)));
}

TEST_P(Contract, SumsAreTakenInRankOrder) {
  if (!sums_in_rank_order()) return;
  run_world(size(), [](const auto& world) {
    expect_rank_order<float>(*world, 5003);
    expect_rank_order<double>(*world, 5003);
  });
}

TEST(RoughValues, DependOnTheOrderOfAddition) {
  const auto forward = sum_in_rank_order<float>(4, 5003, rough_values<float>);
  const auto backward =
      sum_in_rank_order<float>(4, 5003, [](int rank, int64_t count) { return rough_values<float>(3 - rank, count); });
  EXPECT_FALSE(same_bits(forward, backward));
}

TEST_P(Contract, BFloat16IsCarriedInF32AndRoundedOnce) {
  if (!sums_in_rank_order()) return;
  run_world(size(), [](const auto& world) {
    constexpr int64_t kCount = 3001;
    const auto values = [](int rank) {
      std::vector<BFloat16> out;
      for (float value : rough_values<float>(rank, kCount)) out.push_back(BFloat16(value));
      return out;
    };
    std::vector<float> sum(kCount);
    for (int rank = 0; rank < world->size(); ++rank) {
      const auto x = values(rank);
      for (size_t i = 0; i < sum.size(); ++i)
        sum[i] = rank ? sum[i] + static_cast<float>(x[i]) : static_cast<float>(x[i]);
    }
    std::vector<BFloat16> expected, x = values(world->rank());
    for (float value : sum) expected.push_back(BFloat16(value));
    world->all_reduce(tensor_of(x), Reduction::kSum);
    EXPECT_TRUE(same_bits(x, expected));
  });
}

// In any order of addition.
TEST_P(Contract, TheSameSumHasTheSameBitsOnAllRanksAndAgain) {
  run_world(size(), [](const auto& world) {
    const auto sum = [&] {
      std::vector<float> x = rough_values<float>(world->rank(), 5003);
      world->all_reduce(tensor_of(x), Reduction::kSum);
      return x;
    };
    const std::vector<float> first = sum();
    EXPECT_TRUE(same_bits(first, sum()));
    std::vector<float> of_rank_0 = first;
    world->broadcast(tensor_of(of_rank_0), 0);
    EXPECT_TRUE(same_bits(first, of_rank_0));
  });
}

TEST_P(Contract, MaximumTakesTheLargestAndKeepsNaN) {
  run_world(size(), [this](const auto& world) {
    std::vector<int32_t> integer = {world->rank(), -world->rank(), 5};
    world->all_reduce(tensor_of(integer), Reduction::kMax);
    EXPECT_EQ(integer, (std::vector<int32_t>{size() - 1, 0, 5}));
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (int culprit = 0; culprit < size(); ++culprit) {
      std::vector<float> x = {-3.0f - static_cast<float>(world->rank()), world->rank() == culprit ? nan : 1.0f};
      world->all_reduce(tensor_of(x), Reduction::kMax);
      EXPECT_EQ(x[0], -3.0f);
      EXPECT_TRUE(std::isnan(x[1])) << "of rank " << culprit;
    }
  });
}

TEST_P(Contract, IntegerSumsWrap) {
  run_world(size(), [this](const auto& world) {
    std::vector<int32_t> x = {std::numeric_limits<int32_t>::max()};
    world->all_reduce(tensor_of(x), Reduction::kSum);
    const auto wrapped = static_cast<uint32_t>(size()) * static_cast<uint32_t>(std::numeric_limits<int32_t>::max());
    EXPECT_EQ(x[0], static_cast<int32_t>(wrapped));
  });
}

// Ragged, empty for some ranks, empty for all, and many segments.
std::vector<Partition> cuts(int parts) {
  std::vector<int64_t> growing, only_last(static_cast<size_t>(parts), 0), long_first(static_cast<size_t>(parts), 3);
  for (int part = 0; part < parts; ++part) growing.push_back(part * 5);
  only_last.back() = 11;
  long_first.front() = 150001;
  return {Partition::even(97, parts), Partition::even(0, parts), Partition::of_sizes(growing),
          Partition::of_sizes(only_last), Partition::of_sizes(long_first)};
}

TEST_P(Contract, ReduceScatterGivesEachRankItsRows) {
  run_world(size(), [this](const auto& world) {
    constexpr int64_t kColumns = 3;
    for (const Partition& rows : cuts(size())) {
      const int64_t count = rows.total() * kColumns;
      std::vector<float> all = integers<float>(world->rank(), count);
      std::vector<float> mine(static_cast<size_t>(rows.size(world->rank()) * kColumns), -1.0f);
      world->reduce_scatter(tensor_of(all, {rows.total(), kColumns}), rows,
                            tensor_of(mine, {rows.size(world->rank()), kColumns}));
      const auto sum = sum_in_rank_order<float>(size(), count, integers<float>);
      const auto begin = sum.begin() + rows.begin(world->rank()) * kColumns;
      EXPECT_TRUE(same_bits(mine, std::vector<float>(begin, begin + static_cast<int64_t>(mine.size()))));
      EXPECT_TRUE(same_bits(all, integers<float>(world->rank(), count))) << "the input was changed";
    }
  });
}

TEST_P(Contract, AllGatherPutsRowsInRankOrder) {
  run_world(size(), [this](const auto& world) {
    constexpr int64_t kColumns = 2;
    for (const Partition& rows : cuts(size())) {
      std::vector<double> expected;
      for (int rank = 0; rank < size(); ++rank) {
        const auto part = integers<double>(rank, rows.size(rank) * kColumns);
        expected.insert(expected.end(), part.begin(), part.end());
      }
      auto mine = integers<double>(world->rank(), rows.size(world->rank()) * kColumns);
      std::vector<double> all(expected.size(), -1.0), in_place(expected.size(), -1.0);
      world->all_gather(tensor_of(mine, {rows.size(world->rank()), kColumns}), rows,
                        tensor_of(all, {rows.total(), kColumns}));
      EXPECT_TRUE(same_bits(all, expected));

      const Tensor whole = tensor_of(in_place, {rows.total(), kColumns});
      const Tensor own = whole.slice(rows.begin(world->rank()), rows.end(world->rank()));
      std::copy(mine.begin(), mine.end(), own.template data<double>());
      world->all_gather(own, rows, whole);
      EXPECT_TRUE(same_bits(in_place, expected));
    }
  });
}

TEST_P(Contract, BroadcastFromEveryRoot) {
  run_world(size(), [this](const auto& world) {
    for (int root = 0; root < size(); ++root) {
      for (const int64_t count : {0, 1, 50001}) {
        auto x = integers<int32_t>(world->rank(), count);
        world->broadcast(tensor_of(x), root);
        EXPECT_TRUE(same_bits(x, integers<int32_t>(root, count)));
      }
      const auto text_of = [](int rank) {
        return std::string(static_cast<size_t>(rank * 3), static_cast<char>('a' + rank));
      };
      EXPECT_EQ(broadcast_text(*world, text_of(world->rank()), root), text_of(root));
    }
  });
}

TEST_P(Contract, GatherTexts) {
  run_world(size(), [this](const auto& world) {
    const auto text_of = [](int rank) {
      return std::string(static_cast<size_t>(rank * 20000), static_cast<char>('a' + rank));
    };
    const std::vector<std::string> texts = gather_texts(*world, text_of(world->rank()));
    ASSERT_EQ(texts.size(), world->rank() == 0 ? static_cast<size_t>(size()) : 0u);
    for (int rank = 0; rank < static_cast<int>(texts.size()); ++rank)
      EXPECT_EQ(texts[static_cast<size_t>(rank)], text_of(rank));
  });
}

TEST_P(Contract, SingleNumbers) {
  run_world(size(), [this](const auto& world) {
    EXPECT_EQ(sum_of(*world, world->rank() + 0.5), size() * (size() - 1) / 2 + size() * 0.5);
    EXPECT_EQ(maximum_of(*world, -world->rank()), 0.0);
    EXPECT_TRUE(any_of(*world, world->rank() == size() - 1));
    EXPECT_FALSE(any_of(*world, false));
    std::vector<double> values = {1.0 * world->rank(), 0.5};
    sum_each(*world, values);
    EXPECT_EQ(values, (std::vector<double>{size() * (size() - 1) / 2.0, size() * 0.5}));
  });
}

TEST_P(Contract, TheTextOfTheLowestRankIsKnownToAll) {
  run_world(size(), [this](const auto& world) {
    for (int lowest = 0; lowest < size(); ++lowest) {
      const std::string mine = fmt::format("found by {}", world->rank());
      const auto first = first_text(*world, world->rank() < lowest ? std::nullopt : std::optional(mine));
      ASSERT_TRUE(first);
      EXPECT_EQ(first->rank, lowest);
      EXPECT_EQ(first->text, fmt::format("found by {}", lowest));
    }
    EXPECT_FALSE(first_text(*world, std::nullopt));
  });
}

TEST_P(Contract, TheFailureOfTheLowestRankIsKnownToAll) {
  run_world(size(), [this](const auto& world) {
    EXPECT_EQ(first_failure(*world, [] {}), std::nullopt);
    for (int lowest = 0; lowest < size(); ++lowest) {
      const auto failure = first_failure(*world, [&] {
        if (world->rank() >= lowest) throw std::runtime_error(fmt::format("no file {}", world->rank()));
      });
      EXPECT_EQ(failure, size() == 1 ? "no file 0" : fmt::format("rank {}: no file {}", lowest, lowest));
    }
  });
}

// Every rank sends every rank, itself included, several messages of different types and lengths, some of them empty.
TEST_P(Contract, ExchangeMatchesMessagesOfAPairInOrder) {
  run_world(size(), [this](const auto& world) {
    constexpr int kMessages = 3;
    const auto length = [](int from, int to, int i) { return static_cast<int64_t>((from * 5 + to * 3 + i) % 4 * 700); };
    const auto content = [&](int from, int to, int i) {
      return integers<float>(from * 64 + to * 8 + i, length(from, to, i));
    };
    std::vector<std::vector<float>> outgoing, incoming;
    for (int peer = 0; peer < size(); ++peer) {
      for (int i = 0; i < kMessages; ++i) {
        outgoing.push_back(content(world->rank(), peer, i));
        incoming.emplace_back(static_cast<size_t>(length(peer, world->rank(), i)), -1.0f);
      }
    }
    std::vector<Message> sends, receives;
    for (int peer = 0; peer < size(); ++peer) {
      for (int i = 0; i < kMessages; ++i) {
        const auto index = static_cast<size_t>(peer * kMessages + i);
        sends.push_back({peer, tensor_of(outgoing[index])});
        receives.push_back({peer, tensor_of(incoming[index])});
      }
    }
    world->start_exchange(sends, receives)->wait();
    for (int peer = 0; peer < size(); ++peer) {
      for (int i = 0; i < kMessages; ++i) {
        EXPECT_TRUE(same_bits(incoming[static_cast<size_t>(peer * kMessages + i)], content(peer, world->rank(), i)));
      }
    }
  });
}

TEST_P(Contract, BigMessages) {
  run_world(size(), [this](const auto& world) {
    auto outgoing = integers<float>(world->rank(), 1'500'001);
    std::vector<float> incoming(outgoing.size());
    const int next = (world->rank() + 1) % size(), previous = (world->rank() + size() - 1) % size();
    const Message send{next, tensor_of(outgoing)}, receive{previous, tensor_of(incoming)};
    world->start_exchange({&send, 1}, {&receive, 1})->wait();
    EXPECT_TRUE(same_bits(incoming, integers<float>(previous, 1'500'001)));
  });
}

// No rank leaves the barrier before all have entered it: no departure is earlier than the last arrival.
TEST_P(Contract, BarrierHoldsEveryoneBack) {
  run_world(size(), [this](const auto& world) {
    using Clock = std::chrono::steady_clock;
    const auto now = [] { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); };
    for (int late = 0; late < size(); ++late) {
      if (world->rank() == late) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      const double arrival = now();
      world->barrier();
      const double departure = now();
      EXPECT_LE(maximum_of(*world, arrival),
                -maximum_of(*world, -departure));  // one clock: all ranks are on this machine
    }
  });
}

TEST_P(Contract, SplitOrdersByKeyThenRank) {
  run_world(size(), [this](const auto& world) {
    const int rank = world->rank();
    const auto alone = world->split(rank, 0);
    EXPECT_EQ(alone->size(), 1);
    expect_exact_sums<float>(*alone, 10);
    const auto reversed = world->split(0, -rank);
    EXPECT_EQ(reversed->rank(), size() - 1 - rank);
    EXPECT_EQ(reversed->size(), size());
    const auto parity = world->split(rank % 2 ? -7 : 1 << 30, 3);  // any color, equal keys
    EXPECT_EQ(parity->rank(), rank / 2);
    EXPECT_EQ(parity->size(), (size() + (rank % 2 ? 0 : 1)) / 2);
    expect_exact_sums<float>(*parity, 1000);
    const auto nested = reversed->split(reversed->rank() / 2, 0);
    EXPECT_EQ(sum_of(*nested, rank),
              reversed->rank() / 2 * 2 + 1 < size() ? 2 * (size() - 1) - 4 * (reversed->rank() / 2) - 1 : 0.0);
    expect_exact_sums<int32_t>(*world, 100);  // the parent group still works
  });
}

TEST_P(Contract, BytesSentAreThoseThatLeaveTheRank) {
  run_world(size(), [this](const auto& world) {
    const int64_t others = size() - 1;
    const auto sent_by = [&](const auto& call) {
      const int64_t before = world->bytes_sent();
      call();
      return world->bytes_sent() - before;
    };
    const Partition rows = cuts(size()).back();
    const int64_t total = rows.total() * 4, part = rows.size(world->rank()) * 4;
    std::vector<float> all(static_cast<size_t>(rows.total())), mine(static_cast<size_t>(rows.size(world->rank())));
    EXPECT_EQ(sent_by([&] { world->reduce_scatter(tensor_of(all), rows, tensor_of(mine)); }), total - part);
    EXPECT_EQ(sent_by([&] { world->all_gather(tensor_of(mine), rows, tensor_of(all)); }), part * others);
    EXPECT_EQ(sent_by([&] { world->start_reduce_scatter(tensor_of(all), rows, tensor_of(mine))->wait(); }),
              total - part);
    EXPECT_EQ(sent_by([&] { world->start_all_gather(tensor_of(mine), rows, tensor_of(all))->wait(); }), part * others);
    const int64_t even_part = Partition::even(rows.total(), size()).size(world->rank()) * 4;
    EXPECT_EQ(sent_by([&] { world->all_reduce(tensor_of(all), Reduction::kSum); }),
              total - even_part + even_part * others);
    const int64_t broadcast = sent_by([&] { world->broadcast(tensor_of(all), size() / 2); });
    EXPECT_EQ(sum_of(*world, static_cast<double>(broadcast)), static_cast<double>(total * others));
    EXPECT_EQ(sent_by([&] { world->barrier(); }), 0);
    const std::vector<Message> to_all_and_self = [&] {
      std::vector<Message> messages;
      for (int peer = 0; peer < size(); ++peer) messages.push_back({peer, tensor_of(mine).slice(0, 1)});
      return messages;
    }();
    std::vector<float> from_all(static_cast<size_t>(size()));
    std::vector<Message> receives;
    for (int peer = 0; peer < size(); ++peer) receives.push_back({peer, tensor_of(from_all).slice(peer, peer + 1)});
    if (!mine.empty()) {
      EXPECT_EQ(sent_by([&] { world->start_exchange(to_all_and_self, receives)->wait(); }), 4 * others);
    }
  });
}

TEST_P(Contract, AWrongCallIsABug) {
  run_world(size(), [this](const auto& world) {
    std::vector<float> three(3), four(4);
    std::vector<double> wide(3);
    const Partition rows = Partition::of_sizes(std::vector<int64_t>(static_cast<size_t>(size()), 3));
    const Tensor elsewhere(three.data(), DType::kF32, Device{Device::Kind::kCuda, 99}, {3});
    const Message beyond{size(), tensor_of(three)};
    EXPECT_THROW(world->start_exchange({&beyond, 1}, {}), std::logic_error);
    EXPECT_THROW(world->all_gather(tensor_of(four), rows, tensor_of(three)), std::logic_error);
    EXPECT_THROW(world->all_gather(tensor_of(wide), rows, tensor_of(three)), std::logic_error);
    EXPECT_THROW(world->start_reduce_scatter(tensor_of(four), rows, tensor_of(three)), std::logic_error);
    EXPECT_THROW(world->start_all_gather(tensor_of(four), rows, tensor_of(three)), std::logic_error);
    EXPECT_THROW(world->broadcast(tensor_of(three), size()), std::logic_error);
    EXPECT_THROW(world->broadcast(elsewhere, 0), std::logic_error);
    std::vector<uint8_t> bytes(static_cast<size_t>(3 * size()));
    EXPECT_THROW(world->all_reduce(tensor_of(bytes), Reduction::kSum), std::logic_error);
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, Contract, testing::ValuesIn(world_sizes()),
                         [](const auto& instance) { return "ranks_" + std::to_string(instance.param); });

}  // namespace
}  // namespace ropewalk

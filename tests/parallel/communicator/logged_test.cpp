// The counters of an axis equal the bytes that left this rank, and the formulas of host_communicator.h.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "parallel/communicator/logged_communicator.h"
#include "parallel/communicator/progress_engine.h"
#include "parallel/communicator/thread_communicator.h"
#include "tests/parallel/attention/strict_communicator.h"
#include "tests/parallel/communicator/worlds.h"

namespace ropewalk {
namespace {

class Logged : public testing::TestWithParam<int> {
 protected:
  int size() const { return GetParam(); }
};

// A fake inner communicator would prove little: the real transport's count is compared with the formulas, and for a
// broadcast the sum over all ranks with the bytes that all ranks must receive.
TEST_P(Logged, CountersEqualTheFormulas) {
  run_world(size(), [this](const auto& world) {
    LoggedCommunicator group(world, "gradient");
    std::vector<int64_t> sizes;
    for (int rank = 0; rank < size(); ++rank) sizes.push_back(100 + 50001 * rank);
    const Partition rows = Partition::of_sizes(sizes);
    std::vector<float> all(static_cast<size_t>(rows.total())), mine(static_cast<size_t>(rows.size(world->rank())));
    const int64_t total = 4 * rows.total(), part = 4 * rows.size(world->rank()), others = size() - 1;
    const int64_t even = 4 * Partition::even(rows.total(), size()).size(world->rank());

    int64_t expected = 0;
    const auto check = [&](int64_t calls, int64_t bytes) {
      expected += bytes;
      EXPECT_EQ(group.counters().calls, calls);
      EXPECT_EQ(group.counters().bytes_sent, expected);
    };
    group.reduce_scatter(tensor_of(all), rows, tensor_of(mine));
    check(1, total - part);
    group.all_gather(tensor_of(mine), rows, tensor_of(all));
    check(2, others * part);
    group.all_reduce(tensor_of(all), Reduction::kSum);
    check(3, total - even + others * even);
    const Message to_next{(world->rank() + 1) % size(), tensor_of(all)};
    std::vector<float> arrived(all.size());
    const Message from_previous{(world->rank() + size() - 1) % size(), tensor_of(arrived)};
    const auto exchange = group.start_exchange({&to_next, 1}, {&from_previous, 1});
    exchange->wait();
    check(4, others > 0 ? total : 0);
    group.barrier();
    check(5, 0);
    EXPECT_EQ(group.counters().bytes_sent, world->bytes_sent());

    const int64_t before = world->bytes_sent();
    group.broadcast(tensor_of(all), 0);
    const int64_t broadcast = world->bytes_sent() - before;
    check(6, broadcast);
    EXPECT_EQ(sum_of(*world, static_cast<double>(broadcast)), static_cast<double>(others * total));
  });
}

TEST_P(Logged, CheckingAloneIsNotCounted) {
  run_world(size(), [this](const auto& world) {
    LoggedCommunicator group(world, "tensor", true);
    std::vector<double> x(1000);
    const int64_t part = 8 * Partition::even(1000, size()).size(world->rank());
    for (int i = 1; i <= 3; ++i) {
      group.all_reduce(tensor_of(x), Reduction::kSum);
      EXPECT_EQ(group.counters().bytes_sent, i * (8000 - part + (size() - 1) * part));
    }
    const auto pair = group.split(world->rank() / 2, 0);
    pair->barrier();
    EXPECT_EQ(group.counters().calls, 4);
  });
}

TEST_P(Logged, ExchangesOutliveTheirPlaceInTheLog) {
  run_world(size(), [this](const auto& world) {
    LoggedCommunicator group(world, "sequence");
    auto x = integers<float>(world->rank(), 5000);
    std::vector<float> y(x.size());
    const int previous = (world->rank() + size() - 1) % size();
    const Message send{(world->rank() + 1) % size(), tensor_of(x)}, receive{previous, tensor_of(y)};
    auto exchange = group.start_exchange({&send, 1}, {&receive, 1});
    for (int i = 0; i < 40; ++i) group.barrier();
    exchange->wait();
    EXPECT_TRUE(same_bits(y, integers<float>(previous, 5000)));
    EXPECT_EQ(group.counters().calls, 41);
  });
}

// A span in flight ends when the rank has seen that the messages arrived; polling counts as the rank's time.
TEST_P(Logged, MessagesAreInFlightUntilTheyArrive) {
  run_world(size(), [this](const auto& world) {
    LoggedCommunicator group(world, "sequence");
    Trace trace;
    trace.record(true);
    group.set_trace(&trace);
    const auto x = integers<float>(world->rank(), 300000);
    std::vector<float> sent = x, arrived(x.size());
    const Message send{(world->rank() + 1) % size(), tensor_of(sent)};
    const Message receive{(world->rank() + size() - 1) % size(), tensor_of(arrived)};
    const auto exchange = group.start_exchange({&send, 1}, {&receive, 1});
    const double before = group.counters().seconds;
    while (!exchange->progress()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_GT(group.counters().seconds, before);
    EXPECT_TRUE(exchange->progress());
    exchange->wait();
    const auto last = [&](const std::string& name) {
      const auto is = [&](const TraceSpan& span) { return span.name == name; };
      const auto found = std::find_if(trace.spans().rbegin(), trace.spans().rend(), is);
      return found == trace.spans().rend() ? TraceSpan{} : *found;
    };
    EXPECT_GT(last("exchange on sequence").end, 0.0);
    EXPECT_GE(last("exchange on sequence").end, last("progress").end);
    EXPECT_LE(last("exchange on sequence").end, last("wait").begin);
    const auto flights = std::count_if(trace.spans().begin(), trace.spans().end(),
                                       [](const TraceSpan& span) { return span.kind == Trace::kInFlight; });
    EXPECT_EQ(flights, 1);
  });
}

// A span in flight has all bytes of a sum, also those of segments that were sent while it was polled.
TEST_P(Logged, BytesInFlightAreThoseThatWereSent) {
  run_world(size(), [this](const auto& world) {
    LoggedCommunicator group(world, "gradient");
    Trace trace;
    trace.record(true);
    group.set_trace(&trace);
    const Partition cut = Partition::even(4'000'000, size());
    std::vector<float> all(4'000'000, 1.0f), mine(static_cast<size_t>(cut.size(world->rank())));
    const auto sum = group.start_reduce_scatter(tensor_of(all), cut, tensor_of(mine));
    sum->progress();
    sum->wait();
    const auto flight = std::find_if(trace.spans().begin(), trace.spans().end(),
                                     [](const TraceSpan& span) { return span.kind == Trace::kInFlight; });
    ASSERT_NE(flight, trace.spans().end());
    EXPECT_EQ(flight->name, "reduce_scatter on gradient");
    EXPECT_EQ(flight->bytes, 4 * (cut.total() - cut.size(world->rank())));
    EXPECT_EQ(group.counters().bytes_sent, flight->bytes);
  });
}

// A wait that polls other transfers, of its own axis and of another, counts only its own time and bytes.
TEST_P(Logged, WhatIsPolledInAWaitIsCountedOnce) {
  run_world(size(), [this](const auto& world) {
    LoggedCommunicator gradient(world, "gradient");
    const auto tensor = gradient.split("tensor", 0, 0);
    Trace trace;
    trace.record(true);
    gradient.set_trace(&trace);
    tensor->set_trace(&trace);
    const Partition cut = Partition::even(2'000'000, size());
    const int64_t others = 4 * (cut.total() - cut.size(world->rank()));
    std::vector<float> first(2'000'000, 1.0f), second = first, third = first;
    const auto start = [&](LoggedCommunicator& group, std::vector<float>& all) {
      const Tensor mine = tensor_of(all).slice(cut.begin(world->rank()), cut.end(world->rank()));
      return group.start_reduce_scatter(tensor_of(all), cut, mine);
    };
    const auto begin = std::chrono::steady_clock::now();
    const CommunicationCounters before = gradient.counters();
    auto a = start(gradient, first), b = start(gradient, second), c = start(*tensor, third);
    b->wait();
    c->wait();
    a->wait();
    const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    EXPECT_LE(gradient.counters().seconds - before.seconds + tensor->counters().seconds, elapsed);
    EXPECT_EQ(gradient.counters().bytes_sent - before.bytes_sent, 2 * others);
    EXPECT_EQ(tensor->counters().bytes_sent, others);
    int flights = 0;
    for (const TraceSpan& span : trace.spans()) {
      if (span.kind != Trace::kInFlight) continue;
      EXPECT_EQ(span.bytes, others) << span.name;
      ++flights;
    }
    EXPECT_EQ(flights, 3);
  });
}

class FailingTransfer final : public Transfer {
 public:
  bool progress() override { throw PeerError("rank 3 is gone"); }
  void wait() override { progress(); }
};

// Its reduce-scatters fail when they are polled, and its barriers poll.
class FailingSums final : public ForwardingCommunicator {
 public:
  using ForwardingCommunicator::ForwardingCommunicator;
  std::unique_ptr<Transfer> start_reduce_scatter(const Tensor&, const Partition&, const Tensor&) override {
    return std::make_unique<FailingTransfer>();
  }
  void barrier() override { progress_engine().poll(); }
};

// A transfer that fails while another axis waits is reported once, under its own axis, and not polled again.
TEST(LoggedFailures, WhatIsPolledFailsUnderItsOwnName) {
  ThreadWorld world(1, std::chrono::seconds(1));
  const auto rank = world.communicator(0);
  const auto failing = std::make_shared<FailingSums>(*rank);
  int told = 0;
  const auto tell = [&](const PeerError&) { ++told; };
  LoggedCommunicator gradient(failing, "gradient", false, tell), tensor(failing, "tensor", false, tell);
  std::vector<float> x(4);
  const auto sum = gradient.start_reduce_scatter(tensor_of(x), Partition::even(4, 1), tensor_of(x));
  const std::string message = communication_error_of([&] { tensor.barrier(); });
  EXPECT_NE(message.find("rank 3 is gone on axis gradient\n"), std::string::npos) << message;
  EXPECT_EQ(message.find("axis tensor"), std::string::npos) << message;
  EXPECT_EQ(told, 1);
  tensor.barrier();
  EXPECT_THROW(sum->wait(), PeerError);
}

class LoggedWaits : public testing::TestWithParam<int> {};

TEST_P(LoggedWaits, SecondsAreThoseOfWaiting) {
  run_world(GetParam(), [](const auto& world) {
    LoggedCommunicator group(world, "tensor");
    group.barrier();
    const double before = group.counters().seconds;
    constexpr auto kLate = std::chrono::milliseconds(100);
    if (group.rank() == 0) std::this_thread::sleep_for(kLate);
    group.barrier();
    const double waited = group.counters().seconds - before;
    if (group.rank() != 0) {
      EXPECT_GE(waited, 0.05);
    }

    // The time between the start and the wait does not count.
    std::vector<float> x(10), y(10);
    const Message send{(group.rank() + 1) % group.size(), tensor_of(x)};
    const Message receive{(group.rank() + group.size() - 1) % group.size(), tensor_of(y)};
    const auto begin = std::chrono::steady_clock::now();
    const double before_exchange = group.counters().seconds;
    const auto exchange = group.start_exchange({&send, 1}, {&receive, 1});
    std::this_thread::sleep_for(kLate);
    exchange->wait();
    const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    EXPECT_LE(group.counters().seconds - before_exchange, elapsed - 0.09);
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, Logged, testing::ValuesIn(world_sizes()),
                         [](const auto& instance) { return "ranks_" + std::to_string(instance.param); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LoggedWaits);  // a job of one rank
INSTANTIATE_TEST_SUITE_P(Sizes, LoggedWaits, testing::ValuesIn(world_sizes_with_peers()),
                         [](const auto& instance) { return "ranks_" + std::to_string(instance.param); });

}  // namespace
}  // namespace ropewalk

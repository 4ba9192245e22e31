// Checks by the order of events on each rank that work lies between the start of each exchange and the wait for it, and
// that no received data is used before its wait.
#include <gtest/gtest.h>

#include "kernels/make_kernels.h"
#include "parallel/attention/attention_pass.h"
#include "tests/parallel/attention/attention_case.h"
#include "tests/parallel/attention/strict_communicator.h"
#include "tests/support/forwarding_backend.h"
#include "tests/support/ranks.h"

namespace ropewalk {
namespace {

// Events as letters. S: an exchange starts; d: it is polled; W: its wait ends; H: a visit whose keys are all before
// the queries; I: any other visit; A: an addition. Repetitions of an event, and of a visit followed by d, are recorded
// once.
class Events {
 public:
  void add(char event) {
    if (!text_.empty() && text_.back() == event) return;
    text_ += event;
    const size_t size = text_.size();
    if (event == 'd' && size >= 4 && text_.substr(size - 2) == text_.substr(size - 4, 2)) text_.resize(size - 2);
  }
  std::string take() { return std::exchange(text_, {}); }

  // The most queries of one visit while an exchange was outstanding.
  int64_t most_queries = 0;
  bool open = false;

 private:
  std::string text_;
};

class WatchedExchange final : public Transfer {
 public:
  WatchedExchange(std::unique_ptr<Transfer> inner, Events& events) : inner_(std::move(inner)), events_(events) {}
  bool progress() override {
    events_.add('d');
    return inner_->progress();
  }
  void wait() override {
    inner_->wait();
    events_.add('W');
    events_.open = false;
  }

 private:
  std::unique_ptr<Transfer> inner_;
  Events& events_;
};

class WatchedCommunicator final : public ForwardingCommunicator {
 public:
  WatchedCommunicator(Communicator& inner, Events& events) : ForwardingCommunicator(inner), events_(events) {}
  std::unique_ptr<Transfer> start_exchange(std::span<const Message> sends, std::span<const Message> receives) override {
    events_.add('S');
    events_.open = true;
    return std::make_unique<WatchedExchange>(ForwardingCommunicator::start_exchange(sends, receives), events_);
  }

 private:
  Events& events_;
};

class WatchedBackend final : public ForwardingBackend {
 public:
  WatchedBackend(Backend& inner, Events& events) : ForwardingBackend(inner), events_(events) {}
  void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span, const Tensor& o,
                         const Tensor& lse) override {
    visit(q, k, span);
    ForwardingBackend::attention_forward(q, k, v, span, o, lse);
  }
  void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o, const Tensor& lse,
                          const Tensor& delta, const AttentionSpan& span, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) override {
    visit(q, k, span);
    ForwardingBackend::attention_backward(q, k, v, d_o, lse, delta, span, dq, dk, dv);
  }
  void add(const Tensor& a, const Tensor& b, const Tensor& y) override {
    events_.add('A');
    ForwardingBackend::add(a, b, y);
  }

 private:
  void visit(const Tensor& q, const Tensor& k, const AttentionSpan& span) {
    if (events_.open) events_.most_queries = std::max(events_.most_queries, q.rows());
    events_.add(span.keys.of(k.rows() - 1) < span.queries.begin ? 'H' : 'I');
  }
  Events& events_;
};

struct Order {
  std::string forward, backward;
  int64_t most_queries;
};

std::vector<Order> order_of_events(const AttentionCase& problem, int ranks) {
  std::vector<Order> orders(static_cast<size_t>(ranks));
  run_ranks(ranks, [&](const std::shared_ptr<Communicator>& world) {
    Events events;
    const std::unique_ptr<Kernels> reference = make_kernels(BackendKind::kReferenceF64);
    Kernels kernels(std::make_unique<WatchedBackend>(reference->backend(), events));
    WatchedCommunicator group(*world, events);
    RankAttention rank(problem, kernels, group);
    Order& order = orders[static_cast<size_t>(world->rank())];
    rank.forward();
    order.forward = events.take();
    rank.backward();
    order.backward = events.take();
    order.most_queries = events.most_queries;
  });
  return orders;
}

TEST(Overlap, HaloTravelsBehindInteriorQueries) {
  for (int ranks : {2, 4}) {
    const std::vector<Order> orders = order_of_events({1, 40, 2, 1, 4, 4, {}, 5}, ranks);
    for (int rank = 0; rank < ranks; ++rank) {
      EXPECT_EQ(orders[static_cast<size_t>(rank)].forward, "SIdWH") << rank;
      EXPECT_EQ(orders[static_cast<size_t>(rank)].backward, "SIdWHSIdWA") << rank;
    }
  }
}

TEST(Overlap, TheNextBlockTravelsBehindThisOne) {
  // Every step has visits (v) before its wait. Gradients are added (A) when they have arrived.
  const auto visits_as_v = [](const std::string& text) {
    Events out;
    for (char event : text) out.add(event == 'H' || event == 'I' ? 'v' : event);
    return out.take();
  };
  const std::vector<Order> orders = order_of_events({2, 40, 2, 1, 4, std::nullopt, {}, 5}, 4);
  for (const Order& order : orders) {
    EXPECT_EQ(visits_as_v(order.forward), "SvdWSvdWSvdWv");
    EXPECT_EQ(visits_as_v(order.backward), "SvdWSvdWSvdWASvdWASvdWA");
  }
}

// Long pieces are visited in parts, and the messages are polled between them.
TEST(Overlap, NoVisitIsLongWhileMessagesTravel) {
  constexpr int64_t kLength = 4 * kQueriesPerProgress + 1234;
  for (const std::optional<int64_t> window : {std::optional<int64_t>(), {50}}) {
    const std::vector<Order> orders = order_of_events({1, kLength, 1, 1, 2, window, {}, 5}, 2);
    for (const Order& order : orders) EXPECT_EQ(order.most_queries, kQueriesPerProgress);
  }
}

TEST(Overlap, ASingleRankExchangesNothing) {
  for (const std::optional<int64_t> window : {std::optional<int64_t>(), {5}}) {
    const std::vector<Order> orders = order_of_events({2, 20, 2, 1, 4, window, {}, 5}, 1);
    EXPECT_EQ(orders[0].forward, "I");
    EXPECT_EQ(orders[0].backward, "I");
  }
}

}  // namespace
}  // namespace ropewalk

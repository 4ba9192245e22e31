// Faults are injected, and the comparison of the equivalence tests must notice each: a row that is not delivered, a
// block that does not move on, a visit that is left out.
#include <gtest/gtest.h>

#include "kernels/make_kernels.h"
#include "tests/parallel/attention/attention_case.h"
#include "tests/parallel/attention/strict_communicator.h"
#include "tests/support/forwarding_backend.h"
#include "tests/support/ranks.h"

namespace ropewalk {
namespace {

constexpr int kRanks = 3;
constexpr double kAlarm = 1e6 * kTolerance;

const AttentionCase kHalo{1, 26, 2, 1, 4, 4, {}, 11};
const AttentionCase kRing{1, 26, 2, 1, 4, std::nullopt, {}, 11};

// Calls `spoil` after the wait for the exchange.
class SpoiledExchange final : public Transfer {
 public:
  SpoiledExchange(std::unique_ptr<Transfer> inner, std::function<void()> spoil)
      : inner_(std::move(inner)), spoil_(std::move(spoil)) {}
  bool progress() override { return inner_->progress(); }
  void wait() override {
    inner_->wait();
    spoil_();
  }

 private:
  std::unique_ptr<Transfer> inner_;
  std::function<void()> spoil_;
};

// Counts the rows that arrive from other ranks, over all exchanges, and sets row number `dropped_row` to zero.
class RowDroppingCommunicator final : public ForwardingCommunicator {
 public:
  RowDroppingCommunicator(Communicator& inner, int64_t dropped_row)
      : ForwardingCommunicator(inner), dropped_row_(dropped_row) {}
  int64_t rows() const { return rows_; }
  std::unique_ptr<Transfer> start_exchange(std::span<const Message> sends, std::span<const Message> receives) override {
    Tensor dropped;
    for (const Message& receive : receives) {
      const int64_t row = dropped_row_ - rows_;
      if (0 <= row && row < receive.data.rows()) dropped = receive.data.slice(row, row + 1);
      rows_ += receive.data.rows();
    }
    return std::make_unique<SpoiledExchange>(ForwardingCommunicator::start_exchange(sends, receives), [dropped] {
      if (!dropped.empty()) std::fill_n(dropped.data<double>(), dropped.elements(), 0.0);
    });
  }

 private:
  int64_t dropped_row_, rows_ = 0;
};

// In one exchange the rank receives its own block: the tensors that it sends.
class StalledCommunicator final : public ForwardingCommunicator {
 public:
  StalledCommunicator(Communicator& inner, int64_t stalled_exchange)
      : ForwardingCommunicator(inner), stalled_exchange_(stalled_exchange) {}
  int64_t exchanges() const { return exchanges_; }
  std::unique_ptr<Transfer> start_exchange(std::span<const Message> sends, std::span<const Message> receives) override {
    std::unique_ptr<Transfer> inner = ForwardingCommunicator::start_exchange(sends, receives);
    if (exchanges_++ != stalled_exchange_) return inner;
    std::vector<Message> kept(sends.begin(), sends.end()), targets(receives.begin(), receives.end());
    return std::make_unique<SpoiledExchange>(std::move(inner), [kept, targets] {
      for (size_t i = 0; i < targets.size(); ++i) {
        const Tensor &from = kept[i].data, &to = targets[i].data;
        std::copy_n(from.data<double>(), std::min(from.elements(), to.elements()), to.data<double>());
      }
    });
  }

 private:
  int64_t stalled_exchange_, exchanges_ = 0;
};

// Leaves out one visit.
class SkippingBackend final : public ForwardingBackend {
 public:
  // visits: the number of visits so far.
  SkippingBackend(Backend& inner, int64_t skipped_visit, int64_t& visits)
      : ForwardingBackend(inner), skipped_visit_(skipped_visit), visits_(visits) {}
  void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpan& span, const Tensor& o,
                         const Tensor& lse) override {
    if (visits_++ != skipped_visit_) ForwardingBackend::attention_forward(q, k, v, span, o, lse);
  }
  void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& d_o, const Tensor& lse,
                          const Tensor& delta, const AttentionSpan& span, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) override {
    if (visits_++ != skipped_visit_) ForwardingBackend::attention_backward(q, k, v, d_o, lse, delta, span, dq, dk, dv);
  }

 private:
  int64_t skipped_visit_;
  int64_t& visits_;
};

// Runs the problem. On one rank `spoil` calls run(kernels, group), and may replace either argument.
using RunRank = std::function<void(Kernels&, Communicator&)>;
AttentionTensors run_spoiled(const AttentionCase& problem, int spoiled_rank,
                             const std::function<void(Kernels&, Communicator&, const RunRank& run)>& spoil) {
  AttentionTensors out(problem);
  run_ranks(kRanks, [&](const std::shared_ptr<Communicator>& world) {
    const std::unique_ptr<Kernels> kernels = make_kernels(BackendKind::kReferenceF64);
    const RunRank run = [&](Kernels& used_kernels, Communicator& used_group) {
      RankAttention rank(problem, used_kernels, used_group);
      rank.forward();
      rank.backward();
      rank.collect(out);
    };
    if (world->rank() == spoiled_rank) {
      spoil(*kernels, *world, run);
    } else {
      run(*kernels, *world);
    }
  });
  return out;
}

// Spoils each event of each rank in turn, and expects the comparison to notice every one. `spoil_one` spoils the given
// event of the rank that calls it, and returns how many events that rank has.
void expect_every_alarm(
    const AttentionCase& problem,
    const std::function<int64_t(Kernels&, Communicator&, const RunRank&, int64_t event)>& spoil_one) {
  const AttentionTensors right = naive_attention(problem);
  ASSERT_LE(worst_error(run_attention(problem, kRanks), right), kTolerance);
  for (int rank = 0; rank < kRanks; ++rank) {
    int64_t events = 1;
    for (int64_t event = 0; event < events; ++event) {
      const AttentionTensors wrong =
          run_spoiled(problem, rank, [&](Kernels& kernels, Communicator& group, const RunRank& run) {
            events = spoil_one(kernels, group, run, event);
          });
      EXPECT_GT(worst_error(wrong, right), kAlarm) << "event " << event << " of rank " << rank;
    }
    EXPECT_GT(events, 1) << "nothing was spoiled on rank " << rank;
  }
}

TEST(Alarm, ADroppedHaloRowIsNoticed) {
  expect_every_alarm(kHalo, [](Kernels& kernels, Communicator& group, const RunRank& run, int64_t event) {
    RowDroppingCommunicator dropping(group, event);
    run(kernels, dropping);
    return dropping.rows();
  });
}

TEST(Alarm, ASkippedRingStepIsNoticed) {
  expect_every_alarm(kRing, [](Kernels& kernels, Communicator& group, const RunRank& run, int64_t event) {
    StalledCommunicator stalled(group, event);
    run(kernels, stalled);
    return stalled.exchanges();
  });
}

TEST(Alarm, ASkippedVisitIsNoticed) {
  for (const AttentionCase& problem : {kHalo, kRing}) {
    expect_every_alarm(problem, [](Kernels& kernels, Communicator& group, const RunRank& run, int64_t event) {
      int64_t visits = 0;
      Kernels skipping(std::make_unique<SkippingBackend>(kernels.backend(), event, visits));
      run(skipping, group);
      return visits;
    });
  }
}

}  // namespace
}  // namespace ropewalk

// Checks by the order of events on a rank that computation hides a step's collectives; and that buckets change no bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>

#include "kernels/clock.h"
#include "kernels/trace.h"
#include "tests/equivalence/cases.h"
#include "tests/equivalence/mesh_run.h"
#include "tests/parallel/attention/strict_communicator.h"
#include "tests/support/forwarding_backend.h"
#include "tests/support/models.h"
#include "tests/support/ranks.h"
#include "trainer/evaluation/evaluate.h"

namespace ropewalk {
namespace {

// The events of a rank's steps in order, as text. "E", "f0" and "b0" are the first kernels of the embedding's forward,
// of block 0's forward and of its backward, "e" of the embedding's backward, "A" of AdamW; "s" and "g" are the starts
// of reduce-scatters and all-gathers on the gradient group, "w" the waits for these.
std::string order_of(const std::vector<TraceSpan>& spans) {
  std::string text;
  const auto add = [&](const std::string& event) { text += (text.empty() ? "" : " ") + event; };
  std::string phase;
  const TraceSpan* current = nullptr;
  for (const TraceSpan& span : spans) {
    if (current && span.begin >= current->end) current = nullptr;
    if (span.kind == "phase") {
      current = &span;
      const size_t number = span.name.find_first_of("0123456789");
      phase = number == std::string::npos ? "" : span.name.substr(number);
    } else if (span.kind == "communication" && span.axis == "gradient") {
      if (span.name == "start_reduce_scatter") add("s");
      if (span.name == "start_all_gather") add("g");
      if (span.name == "wait") add("w");
    } else if (span.kind == "kernel" && current && !phase.empty()) {
      add((phase.ends_with("forward") ? "f" : "b") + phase.substr(0, phase.find(' ')));
      phase.clear();
    } else if (span.name == "embedding_forward") {
      add("E");
    } else if (span.name == "embedding_backward") {
      add("e");
    } else if (span.name == "adamw" && !text.ends_with("A")) {
      add("A");
    }
  }
  return text;
}

// A trainer on a rank, with a trace that does not record yet.
struct TracedTrainer {
  TracedTrainer(const Config& config, const std::shared_ptr<Communicator>& world)
      : here(config, world),
        trainer(config, {here.mesh(), here.kernels(), here.rank().arena, &trace}),
        run{config, trainer, here.mesh(), here.kernels()} {
    here.kernels().set_trace(&trace);
    here.mesh().set_trace(&trace);
    trainer.initialize();
  }
  void step(const SamplesOfStep& samples, int64_t n) { trainer.step(run.share_of(samples(n)), n); }
  std::vector<TraceSpan> spans_by_begin() const {
    std::vector<TraceSpan> spans = trace.spans();
    std::ranges::stable_sort(spans, {}, &TraceSpan::begin);
    return spans;
  }

  Trace trace;
  RankOnThread here;
  Trainer trainer;
  RankRun run;
};

// The events of two steps, for every rank.
std::vector<std::string> orders(const Config& config, const SamplesOfStep& samples) {
  std::vector<std::string> out(static_cast<size_t>(config.parallel.mesh.size()));
  run_ranks(config.parallel.mesh.size(), [&](const std::shared_ptr<Communicator>& world) {
    TracedTrainer rank(config, world);
    rank.trace.record(true);
    for (int64_t step = 0; step < 2; ++step) rank.step(samples, step);
    out[static_cast<size_t>(world->rank())] = order_of(rank.spans_by_begin());
  });
  return out;
}

SamplesOfStep some_samples(int64_t count) {
  return [=](int64_t step) {
    std::vector<Sample> samples;
    for (int64_t i = 0; i < count; ++i)
      samples.push_back(random_sample(16, 37, {}, static_cast<uint64_t>(step * count + i)));
    return samples;
  };
}

Config three_blocks(const MeshShape& mesh, int64_t batch) {
  return test_config(small_model({sliding_rope(4), full_nope(), sliding_rope(4)}), mesh, 16, batch);
}

// A reduce-scatter starts when the backward has finished a block, and the waits follow the whole backward. An
// all-gather starts after each bucket's update, and the forward waits for it when it reaches the bucket's block.
TEST(Overlap, SumsGoUnderTheBackwardAndGatheringsUnderTheForward) {
  for (const MeshShape& mesh : {MeshShape{2, 1, 1}, MeshShape{1, 2, 1}, MeshShape{2, 2, 1}}) {
    const std::string first = "E f0 f1 f2 b2 s b1 s b0 s e s w w w w A g A g A g A g",
                      second = " w E w f0 w f1 w f2 b2 s b1 s b0 s e s w w w w A g A g A g A g";
    for (const std::string& order : orders(three_blocks(mesh, mesh.data_parallel), some_samples(mesh.data_parallel)))
      EXPECT_EQ(order, first + second) << text_of(mesh);
  }
}

// Gradients are complete only after the last micro-batch, and only the first one waits for weights.
TEST(Overlap, MicroBatchesBeforeTheLastSendNoGradients) {
  const std::string passes = "E f0 f1 f2 b2 b1 b0 e ";
  for (const std::string& order : orders(three_blocks({2, 1, 1}, 4), some_samples(4)))
    EXPECT_EQ(order, passes + "E f0 f1 f2 b2 s b1 s b0 s e s w w w w A g A g A g A g" +
                         " w E w f0 w f1 w f2 b2 b1 b0 e " + "E f0 f1 f2 b2 s b1 s b0 s e s w w w w A g A g A g A g");
}

TEST(Overlap, BucketsHoldAsManyBlocksAsTheyAreAskedTo) {
  Config config = three_blocks({2, 1, 1}, 2);
  config.parallel.bucket_parameters = 1500;  // 3,000 for both ranks; a block has 1,936, the embedding 592
  for (const std::string& order : orders(config, some_samples(2)))
    EXPECT_EQ(order, "E f0 f1 f2 b2 b1 s b0 e s w w A g A g w E f0 w f1 f2 b2 b1 s b0 e s w w A g A g");
  config.parallel.bucket_parameters = 1 << 16;
  for (const std::string& order : orders(config, some_samples(2)))
    EXPECT_EQ(order, "E f0 f1 f2 b2 b1 b0 e s w A g w E f0 f1 f2 b2 b1 b0 e s w A g");
}

// The begin and end of a transfer, and how often it was polled.
struct Flight {
  std::string name;
  double begin = 0, end = 0;
  int polls = 0;
};

// Never reports that it is complete, so that it is polled for as long as it is in flight.
class UndoneTransfer final : public Transfer {
 public:
  UndoneTransfer(std::unique_ptr<Transfer> inner, Flight& flight) : inner_(std::move(inner)), flight_(flight) {
    flight_.begin = steady_seconds();
  }
  ~UndoneTransfer() override { land(); }
  bool progress() override {
    ++flight_.polls;
    inner_->progress();
    return false;
  }
  void wait() override {
    land();
    inner_->wait();
  }

 private:
  void land() {
    if (flight_.end == 0) flight_.end = steady_seconds();
  }

  std::unique_ptr<Transfer> inner_;
  Flight& flight_;
};

class UndoneCommunicator final : public ForwardingCommunicator {
 public:
  UndoneCommunicator(std::shared_ptr<Communicator> inner, std::deque<Flight>& flights)
      : ForwardingCommunicator(*inner), inner_(std::move(inner)), flights_(flights) {}
  std::unique_ptr<Transfer> start_reduce_scatter(const Tensor& all, const Partition& rows,
                                                 const Tensor& mine) override {
    return undone("sum", inner_->start_reduce_scatter(all, rows, mine));
  }
  std::unique_ptr<Transfer> start_all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) override {
    return undone("gathering", inner_->start_all_gather(mine, rows, all));
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<UndoneCommunicator>(inner_->split(color, key), flights_);
  }

 private:
  std::unique_ptr<Transfer> undone(const char* name, std::unique_ptr<Transfer> transfer) {
    return std::make_unique<UndoneTransfer>(std::move(transfer), flights_.emplace_back(Flight{name}));
  }

  std::shared_ptr<Communicator> inner_;
  std::deque<Flight>& flights_;  // a deque: adding moves none
};

// Outstanding reduce-scatters, and all-gathers in the next step, are polled after every operation.
TEST(Overlap, SumsAndGatheringsArePolledWhileTheRankComputes) {
  const Config config = three_blocks({2, 1, 1}, 2);
  run_ranks(2, [&](const std::shared_ptr<Communicator>& world) {
    std::deque<Flight> flights;
    TracedTrainer rank(config, std::make_shared<UndoneCommunicator>(world, flights));
    rank.trace.record(true);
    for (int64_t step = 0; step < 2; ++step) rank.step(some_samples(2), step);
    std::map<std::string, int> beside;  // number of operations while a sum or an all-gather was in flight
    for (const Flight& flight : flights) {
      if (flight.end == 0) continue;  // for the step after the last one
      int operations = 0;
      for (const TraceSpan& span : rank.trace.spans())
        operations += span.kind == "kernel" && span.begin > flight.begin && span.end < flight.end ? 1 : 0;
      EXPECT_GE(flight.polls, operations) << flight.name;
      beside[flight.name] += operations;
    }
    EXPECT_GE(beside["sum"], 100);  // e.g. the backward of two blocks while the sum of the last block is in flight
    EXPECT_GE(beside["gathering"], 50);
  });
}

// Fails in the backward, while the reduce-scatter of the last block's gradients is in flight.
class FailingBackend final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  void attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta) override {
    if (++times_ == 3) throw OutOfMemory("by rank 1 alone");
    ForwardingBackend::attention_delta(d_o, o, delta);
  }

 private:
  int times_ = 0;
};

// The failing rank waits for its outstanding reduce-scatters, which have many segments. The other ranks wait for its
// keys, and poll the reduce-scatters meanwhile.
TEST(Overlap, ARankThatFailsByItselfIsHeardOfBeforeTheDeadline) {
  Config config = three_blocks({1, 2, 1}, 1);
  config.model.hidden = 80000;  // 30 MB of gradients in a block, in segments of 1 MiB
  Faults faults;
  faults.in_backend = [](Backend& inner, const Mesh& mesh) -> std::unique_ptr<Backend> {
    if (mesh.world().rank() == 1) return std::make_unique<FailingBackend>(inner);
    return std::make_unique<ForwardingBackend>(inner);
  };
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THROW(on_mesh(
                   config, [&](RankRun& run) { run.trainer.step(run.share_of(some_samples(1)(0)), 0); }, faults),
               OutOfMemory);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));  // the deadline: 60
}

// A check of all weights first waits for the weights from all ranks.
TEST(Overlap, WeightsAreCheckedWhenTheyAreThere) {
  const Config config = three_blocks({2, 1, 1}, 2);
  run_ranks(2, [&](const std::shared_ptr<Communicator>& world) {
    TracedTrainer rank(config, world);
    rank.step(some_samples(2), 0);
    rank.trace.record(true);
    rank.trainer.check_weights(1);
    int waits = 0;
    for (const TraceSpan& span : rank.trace.spans()) {
      if (span.name == "wait" && span.axis == "gradient") ++waits;
      if (span.name == "first_not_finite") break;
    }
    EXPECT_EQ(waits, 4);
  });
}

// Enforces the contract of an all-gather: the gathered parts are NaN until wait() returns.
class LateGathering final : public Transfer {
 public:
  LateGathering(Communicator& inner, const Tensor& mine, const Partition& rows, const Tensor& all)
      : all_(all), arriving_(static_cast<size_t>(all.bytes())) {
    const Tensor hidden(arriving_.data(), all.dtype(), all.device(), all.shape());
    inner_ = inner.start_all_gather(mine, rows, hidden);
    for (int rank = 0; rank < rows.parts(); ++rank)
      if (const Tensor part = all.slice(rows.begin(rank), rows.end(rank)); rank != inner.rank())
        std::fill_n(static_cast<std::byte*>(part.raw()), part.bytes(), std::byte{0xff});
  }
  bool progress() override { return inner_->progress(); }
  void wait() override {
    inner_->wait();
    std::copy(arriving_.begin(), arriving_.end(), static_cast<std::byte*>(all_.raw()));
  }

 private:
  Tensor all_;
  std::vector<std::byte> arriving_;
  std::unique_ptr<Transfer> inner_;
};

class LateCommunicator final : public ForwardingCommunicator {
 public:
  explicit LateCommunicator(std::shared_ptr<Communicator> inner)
      : ForwardingCommunicator(*inner), inner_(std::move(inner)) {}
  std::unique_ptr<Transfer> start_all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) override {
    if (mine.dtype() != DType::kF64) return ForwardingCommunicator::start_all_gather(mine, rows, all);
    return std::make_unique<LateGathering>(*inner_, mine, rows, all);
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<LateCommunicator>(ForwardingCommunicator::split(color, key));
  }

 private:
  std::shared_ptr<Communicator> inner_;
};

// Everything that reads weights waits for them, whatever was called before: results equal those without delay.
TEST(Overlap, WeightsAreReadWhenTheyAreThere) {
  const Config config = three_blocks({2, 2, 1}, 2);
  const auto all_readers = [&](const Faults& faults) {
    std::vector<double> read;
    on_mesh(
        config,
        [&](RankRun& run) {
          std::vector<double> here;
          const auto step = [&](int64_t n) {
            here.push_back(run.trainer.step(run.share_of(some_samples(2)(n)), n).loss.value());
          };
          const auto evaluate_now = [&] {
            const LossByPosition loss =
                evaluate(run.trainer.predictor(), run.share_of(some_samples(2)(7)), {1, 2}, run.mesh);
            here.insert(here.end(), loss.loss.begin(), loss.loss.end());
          };
          step(0);
          step(1);
          evaluate_now();
          step(2);
          const std::vector<double> logits = run.trainer.predictor().next_token_logits({1, 2, 3});
          here.insert(here.end(), logits.begin(), logits.end());
          step(3);
          run.trainer.check_weights(4);
          for (int time = 0; time < 3; ++time)
            run.trainer.state_loaded();  // each replaces the all-gathers of the one before
          evaluate_now();
          if (run.mesh.world().rank() == 0) read = here;
        },
        faults);
    return read;
  };
  Faults late;
  late.in_world = [](std::shared_ptr<Communicator> world) {
    return std::make_shared<LateCommunicator>(std::move(world));
  };
  const std::vector<double> at_once = all_readers({});
  EXPECT_EQ(all_readers(late), at_once);
  EXPECT_EQ(at_once.size(), size_t{4 + 2 + 37 + 2});
}

// Every element is summed over the same ranks in the same order, whatever bucket it is in.
TEST(Overlap, BucketsChangeNoBitOfTheGradients) {
  for (const MeshShape& mesh : {MeshShape{3, 1, 1}, MeshShape{2, 2, 2}}) {
    Case c = make_case("RnopeSwa", mesh);
    const NaiveWeights weights = random_weights(c.config.model, 43);
    const auto run = [&](int64_t bucket_parameters) {
      c.config.parallel.bucket_parameters = bucket_parameters;
      return gradients_on_mesh(c.config, weights, samples_of_step(c, 0));
    };
    const LossAndGradients by_block = run(0);
    for (const int64_t bucket_parameters : {300, 1000, 1 << 16}) {
      const LossAndGradients other = run(bucket_parameters);
      EXPECT_EQ(other.loss, by_block.loss);
      EXPECT_TRUE(other.gradients == by_block.gradients) << text_of(mesh) << ", " << bucket_parameters;
    }
  }
}

}  // namespace
}  // namespace ropewalk

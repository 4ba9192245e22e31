// Checks the order of streams by the device's own times: a collective begins after the kernels that compute its input,
// and kernels begin after the collectives that bring their input.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/make_kernels.h"
#include "kernels/trace.h"
#include "tests/equivalence/mesh_run.h"
#include "tests/support/cuda/under_test.h"
#include "tests/support/models.h"

namespace ropewalk {
namespace {

constexpr double kResolution = 2e-6;  // for comparisons between two streams; the time of an event is exact to 0.5 us

struct Span {
  std::string name;
  double begin, end;  // on the device
};

struct Times {
  std::vector<Span> kernels, phases, sums, gatherings;  // in the order of the host's calls

  // The end of the last kernel of a phase.
  double end_of(const Span& phase) const {
    double end = phase.begin;
    for (const Span& kernel : kernels)
      if (kernel.begin >= phase.begin && kernel.end <= phase.end) end = std::max(end, kernel.end);
    return end;
  }
};

Times times_of(Trace& trace) {
  Times out;
  std::vector<TraceSpan> spans = trace.spans();
  std::ranges::stable_sort(spans, {}, &TraceSpan::begin);
  for (const TraceSpan& span : spans) {
    if (!span.on_device.begin || !span.on_device.end) continue;
    const Span timed{span.name, span.on_device.begin(), span.on_device.end()};
    if (span.kind == "kernel") out.kernels.push_back(timed);
    if (span.kind == "phase") out.phases.push_back(timed);
    if (span.name == "reduce_scatter on gradient") out.sums.push_back(timed);
    if (span.name == "all_gather on gradient") out.gatherings.push_back(timed);
  }
  return out;
}

const Span* first_with(const std::vector<Span>& spans, const std::string& name, double from) {
  const auto found = std::ranges::find_if(spans, [&](const Span& s) { return s.name == name && s.begin >= from; });
  return found == spans.end() ? nullptr : &*found;
}

TEST(CudaOverlap, DeviceTimesShowWhatWaitsForWhat) {
  constexpr int kRanks = 2, kBlocks = 3;
  const std::string reason = why_no_ranks(kRanks, DeviceTransport::kNccl);
  if (!reason.empty()) GTEST_SKIP() << reason;
  ModelConfig model = small_model({sliding_rope(20), full_nope(), sliding_rope(20)});
  model.head_size = 64;
  model.width = 72;
  model.hidden = 56;
  Config config = test_config(model, {kRanks, 1, 1}, 64, kRanks);
  config.parallel.backend = BackendKind::kReferenceBF16;

  run_ranks(kRanks, [&](const std::shared_ptr<Communicator>& host) {
    RankOnThread here(config, make_rank_under_test(host, DeviceTransport::kNccl, {std::chrono::minutes(1)}));
    Trace trace;
    Kernels& kernels = here.kernels();
    kernels.set_trace(&trace);
    trace.set_timeline(kernels.device_timeline());
    ASSERT_NE(kernels.device_timeline(), nullptr);
    here.mesh().set_trace(&trace);
    Trainer trainer(config, {here.mesh(), kernels, here.rank().arena, &trace});
    trainer.initialize();
    trace.record(true);
    for (int64_t step = 0; step < 2; ++step)
      trainer.step({{random_sample(64, model.vocabulary, {}, static_cast<uint64_t>(10 * step + host->rank()))}}, step);
    trainer.check_weights(2);
    const Times times = times_of(trace);
    trace.record(false);

    ASSERT_EQ(times.sums.size(), size_t{2 * (kBlocks + 1)});
    ASSERT_EQ(times.gatherings.size(), size_t{2 * (kBlocks + 1)});
    double step_begin = 0;
    for (size_t step = 0; step < 2; ++step) {
      const Span* const adamw = first_with(times.kernels, "adamw", times.sums[step * (kBlocks + 1)].begin);
      ASSERT_NE(adamw, nullptr);
      for (size_t block = 0; block < kBlocks; ++block) {
        const Span* const backward = first_with(times.phases, fmt::format("block {} backward", block), step_begin);
        ASSERT_NE(backward, nullptr);
        const Span& sum = times.sums[step * (kBlocks + 1) + kBlocks - 1 - block];
        EXPECT_GE(sum.begin, times.end_of(*backward) - kResolution)
            << "the sum of block " << block << " needs its backward";
        EXPECT_LE(sum.begin, sum.end);
        EXPECT_LE(sum.end, adamw->begin + kResolution) << "the update needs the sum of block " << block;
      }
      step_begin = adamw->end;
    }
    const double updated = times.gatherings.front().begin;
    for (size_t block = 0; block < kBlocks; ++block) {
      const Span* const forward = first_with(times.phases, fmt::format("block {} forward", block), updated);
      ASSERT_NE(forward, nullptr);
      const Span* const first = first_with(times.kernels, "layer_norm_forward", forward->begin);
      ASSERT_NE(first, nullptr);
      EXPECT_LE(times.gatherings[1 + block].end, first->begin + kResolution)
          << "block " << block << " needs its weights";
    }
  });
}

}  // namespace
}  // namespace ropewalk

// A plan is what a step then does: memory, bytes by axis and arithmetic of every rank, on every mesh.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/trace.h"
#include "tests/equivalence/cases.h"
#include "tests/equivalence/mesh_run.h"
#include "tests/support/models.h"
#include "tests/support/ranks.h"
#include "trainer/evaluation/evaluate.h"
#include "trainer/inference/generate.h"
#include "trainer/run/estimate.h"

namespace ropewalk {
namespace {

using Recompute = TrainingConfig::Recompute;

double flops_in(const Trace& trace) {
  double total = 0;
  for (const TraceSpan& span : trace.spans()) total += span.flops;
  return total;
}

double memory_bytes_in(const Trace& trace) {
  double total = 0;
  for (const TraceSpan& span : trace.spans()) total += span.memory_bytes;
  return total;
}

// The case's samples, each as one document.
std::vector<Sample> whole_samples(const Case& c) {
  std::vector<Sample> samples;
  for (const Sample& sample : c.samples)
    samples.push_back(random_sample(static_cast<int64_t>(sample.tokens.size()), c.config.model.vocabulary, {}, 5));
  return samples;
}

using Counters = std::vector<std::pair<std::string, CommunicationCounters>>;

// before: the counters when the step began.
void expect_as_planned(const StepEstimate& plan, const RankRun& run, const Counters& before, const MemoryUse& used) {
  EXPECT_EQ(plan.memory.weights, used.weights);
  EXPECT_EQ(plan.memory.gradients, used.gradients);
  EXPECT_EQ(plan.memory.optimizer, used.optimizer);
  EXPECT_EQ(plan.memory.activations, used.activations);
  EXPECT_EQ(plan.memory.working, used.working);
  for (size_t axis = 0; axis < plan.bytes_sent.size(); ++axis) {
    const auto [name, counters] = run.mesh.counters()[axis];
    EXPECT_EQ(plan.bytes_sent[axis].first, name);
    EXPECT_EQ(plan.bytes_sent[axis].second, counters.bytes_sent - before[axis].second.bytes_sent) << name;
  }
}

class PlanOnMesh : public testing::TestWithParam<MeshShape> {};

TEST_P(PlanOnMesh, IsWhatTheStepDoes) {
  for (const std::string& name : case_names()) {
    Case c = make_case(name, GetParam());
    for (const Recompute recompute : {Recompute::kNothing, Recompute::kBlock, Recompute::kBlockButAttention}) {
      c.config.training.recompute = recompute;
      const std::vector<Sample> samples = whole_samples(c);
      on_mesh(c.config, [&](RankRun& run) {
        const int rank = run.mesh.world().rank();
        SCOPED_TRACE(fmt::format("{}, rank {}, recompute {}", name, rank, static_cast<int>(recompute)));
        const StepEstimate plan = estimate_step(c.config, c.config.training.stages.front(), rank);
        const Counters before = run.mesh.counters();
        Trace trace;
        trace.record(true);
        run.kernels.set_trace(&trace);
        run.trainer.step(run.share_of(samples), 0);
        run.kernels.set_trace(nullptr);
        expect_as_planned(plan, run, before, run.trainer.memory());
        EXPECT_EQ(plan.flops.total(), flops_in(trace));
        EXPECT_EQ(number(plan.memory_traffic), memory_bytes_in(trace));
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Meshes, PlanOnMesh, testing::ValuesIn(meshes_up_to(8)),
                         [](const auto& test) { return text_of(test.param); });

// Weights of 2 bytes beside master weights, gradients and statistics of 4, and tensors that change their type.
TEST(Plan, IsWhatAStepInMixedPrecisionDoes) {
  for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{2, 2, 2}, MeshShape{1, 3, 2}, MeshShape{1, 1, 8}}) {
    for (const std::string& name : case_names()) {
      Case c = make_case(name, mesh);
      c.config.parallel.backend = BackendKind::kCpuBF16;
      const std::vector<Sample> samples = whole_samples(c);
      on_mesh(c.config, [&](RankRun& run) {
        SCOPED_TRACE(fmt::format("{} on {}, rank {}", name, text_of(mesh), run.mesh.world().rank()));
        const StepEstimate plan = estimate_step(c.config, c.config.training.stages.front(), run.mesh.world().rank());
        const Counters before = run.mesh.counters();
        run.trainer.step(run.share_of(samples), 0);
        expect_as_planned(plan, run, before, run.trainer.memory());
      });
    }
  }
}

// Many micro-batches are counted from two; the last may be smaller.
TEST(Plan, CountsMicroBatches) {
  for (const auto& [batch, micro] : {std::pair{1, 4}, {3, 1}, {6, 2}, {7, 2}, {11, 3}}) {
    Case c = make_case("RnopeSwa", {1, 2, 2});
    c.config.training.stages.front().batch = batch;
    c.config.training.stages.front().micro_batch = micro;
    c.samples = samples_of_step(c, 0);
    const std::vector<Sample> samples = whole_samples(c);
    on_mesh(c.config, [&](RankRun& run) {
      SCOPED_TRACE(fmt::format("{} samples, {} at a time", batch, micro));
      const StepEstimate plan = estimate_step(c.config, c.config.training.stages.front(), run.mesh.world().rank());
      const Counters before = run.mesh.counters();
      Trace trace;
      trace.record(true);
      run.kernels.set_trace(&trace);
      run.trainer.step(run.share_of(samples), 0);
      run.kernels.set_trace(nullptr);
      expect_as_planned(plan, run, before, run.trainer.memory());
      EXPECT_EQ(plan.flops.total(), flops_in(trace));
      EXPECT_EQ(number(plan.memory_traffic), memory_bytes_in(trace));
    });
  }
}

// Documents only take away, but for what the rows of a block need.
TEST(Plan, IsEnoughForDocuments) {
  for (const std::string& name : case_names()) {
    const Case c = make_case(name, {1, 4, 2});
    on_mesh(c.config, [&](RankRun& run) {
      SCOPED_TRACE(fmt::format("{}, rank {}", name, run.mesh.world().rank()));
      const StepEstimate plan = estimate_step(c.config, c.config.training.stages.front(), run.mesh.world().rank());
      const Counters before = run.mesh.counters();
      run.trainer.step(run.share_of(c.samples), 0);
      EXPECT_LE(run.trainer.memory().arena(), plan.memory.arena());
      for (size_t axis = 0; axis < plan.bytes_sent.size(); ++axis)
        EXPECT_LE(run.mesh.counters()[axis].second.bytes_sent - before[axis].second.bytes_sent,
                  plan.bytes_sent[axis].second);
    });
  }
}

// A run reserves what its largest stage needs, and then takes no more.
TEST(Plan, IsReservedOnceForAllStages) {
  Case c = make_case("RnopeSwa", {1, 2, 2});
  std::vector<Stage>& stages = c.config.training.stages;
  for (const int64_t length : {40, 12}) {
    stages.push_back(stages.back());
    stages.back().first_step += 1;
    stages.back().sequence_length = length;
  }
  run_ranks(c.config.parallel.mesh.size(), [&](const std::shared_ptr<Communicator>& world) {
    RankOnThread here(c.config, world);
    const Rank rank = here.rank();
    const int64_t planned = estimate_run(c.config, world->rank()).memory.arena();
    rank.arena.reserve(planned);
    Trainer trainer(c.config, rank);
    trainer.initialize();
    for (const Stage& stage : stages) {
      trainer.begin_stage(stage);
      const Batch batch{{random_sample(stage.sequence_length, c.config.model.vocabulary, {}, 3),
                         random_sample(stage.sequence_length, c.config.model.vocabulary, {5}, 4)}};
      trainer.step(batch, stage.first_step);
      evaluate(trainer.predictor(), batch, {stage.micro_batch, 2}, here.mesh());
    }
    EXPECT_EQ(rank.arena.peak_bytes(), planned);
    EXPECT_EQ(rank.arena.reserved_bytes(), planned);
  });
}

// Losses without a backward fit into what the step has reserved.
TEST(Plan, IsEnoughForValidation) {
  for (const Recompute recompute : {Recompute::kNothing, Recompute::kBlock}) {
    Case c = make_case("RnopeSwa", {1, 2, 2});
    c.config.training.recompute = recompute;
    on_mesh(c.config, [&](RankRun& run) {
      const StepEstimate plan = estimate_step(c.config, c.config.training.stages.front(), run.mesh.world().rank());
      evaluate(run.trainer.predictor(), run.share_of(c.samples), {c.config.training.stages[0].micro_batch, 2},
               run.mesh);
      run.trainer.predictor().next_token_logits(c.samples[0].tokens);
      EXPECT_LE(run.trainer.memory().arena(), plan.memory.arena());
    });
  }
}

// A plan has the memory of a sample of text, if that is more than a step's, but not the bytes that it sends.
TEST(Plan, IsEnoughForTheSampleOfText) {
  for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{1, 2, 2}, MeshShape{1, 4, 1}})
    for (const std::string& prompt : {std::string("Once upon a time"), std::string()}) {
      Case c = make_case("RnopeSwa", mesh);
      const Stage& stage = c.config.training.stages.front();
      const StepEstimate without = estimate_step(c.config, stage, 0);
      c.config.validation.sample_tokens = 3000;
      c.config.validation.prompt = prompt;
      on_mesh(c.config, [&](RankRun& run) {
        const StepEstimate plan = estimate_step(c.config, stage, run.mesh.world().rank());
        EXPECT_GT(plan.memory.arena(), without.memory.arena());
        if (run.mesh.world().rank() == 0) {
          EXPECT_EQ(plan.bytes_sent, without.bytes_sent);
        }
        run.trainer.step(run.share_of(c.samples), 0);
        const auto bytes = std::max<size_t>(1, prompt.size());
        Generator generator(run.trainer.predictor(), 1, static_cast<int64_t>(bytes) + 3000);
        generator.admit({.prompt = std::vector<int32_t>(bytes), .tokens = 3000});
        for (int i = 0; i < 3; ++i) generator.step();
        EXPECT_EQ(run.trainer.memory().arena(), plan.memory.arena());
      });
    }
}

}  // namespace
}  // namespace ropewalk

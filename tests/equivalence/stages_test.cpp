// A run in stages with different lengths, batches and RoPE bases: on every mesh it gives the numbers of one rank and of
// the naive model, across all changes of stage. Stopped and resumed anywhere, it gives the bits of an uninterrupted
// run.
#include "trainer/config/stages.h"

#include <gtest/gtest.h>

#include "kernels/make_kernels.h"
#include "tests/equivalence/cases.h"
#include "tests/equivalence/compare_steps.h"
#include "tests/support/models.h"
#include "trainer/evaluation/evaluate.h"

namespace ropewalk {
namespace {

constexpr int64_t kSteps = 6;

// Two steps as in the case; two with longer sequences, another batch, micro-batch and RoPE base; one with a smaller
// batch; one with short sequences (fewer tokens than 2P for P = 8) and a third base.
Case staged_case(const std::string& name, const MeshShape& mesh, BackendKind backend = BackendKind::kReferenceF64) {
  Case c = make_case(name, mesh);
  c.config.parallel.backend = backend;
  c.config.training.steps = kSteps;
  c.config.training.learning_rate = 0.02;
  c.config.training.epsilon = 1e-3;  // see kStepsTolerance
  const int64_t data = mesh.data_parallel;
  const Stage first = c.config.training.stages[0];
  c.config.training.stages = {first,
                              {.first_step = 2, .sequence_length = 41, .batch = 4 * data, .micro_batch = 2, .theta = 7},
                              {.first_step = 4, .sequence_length = 41, .batch = 1 * data, .theta = 7},
                              {.first_step = 5, .sequence_length = 13, .batch = 3 * data, .theta = 5000}};
  return c;
}

const Stage& stage_of(const Case& c, int64_t step) {
  return c.config.training.stages[stage_at(c.config.training, step)];
}

std::vector<Sample> samples_of(const Case& c, int64_t step) {
  const Stage& stage = stage_of(c, step);
  std::vector<Sample> samples;
  for (int64_t i = 0; i < stage.batch; ++i) {
    const std::vector<int64_t> documents =
        i % 2 == 0 ? std::vector<int64_t>{5, stage.sequence_length - 3} : std::vector<int64_t>{};
    samples.push_back(random_sample(stage.sequence_length, c.config.model.vocabulary, documents,
                                    static_cast<uint64_t>(1000 * step + i)));
  }
  return samples;
}

ModelConfig model_in(const ModelConfig& model, const Stage& stage) {
  ModelConfig out = model;
  for (LayerKind& kind : out.layers)
    if (kind.position == LayerKind::Position::kRope && stage.theta) kind.theta = *stage.theta;
  return out;
}

Steps steps(const Case& c, const NaiveWeights& state, int64_t first, int64_t last) {
  return steps_on_mesh(
      c.config, state, [&](int64_t step) { return samples_of(c, step); }, first, last);
}

class StagesOnEveryMesh : public testing::TestWithParam<MeshAndCase> {
 protected:
  static inline SerialReference serial_;
};

TEST_P(StagesOnEveryMesh, TakeTheStepsOfOneRankAndOfTheNaiveModel) {
  const auto& [mesh, name] = GetParam();
  const Case c = staged_case(name, mesh);
  const NaiveWeights weights = random_weights(c.config.model, 41);
  const Steps many = steps(c, weights, 0, kSteps);
  const auto& [one_rank, naive] = serial_.of(
      c, [&](int64_t step) { return model_in(c.config.model, stage_of(c, step)); },
      [&](int64_t step) { return samples_of(c, step); }, weights, kSteps);
  EXPECT_EQ(many.rates, one_rank.rates);
  expect_same_steps(without_moments(many), naive, "the naive model");
  if (mesh.size() > 1) expect_same_steps(many, one_rank, "one rank");
}

// RnopeSwa: the layers with RoPE are sliding (halo); QkNorm: one of them is full (ring).
INSTANTIATE_TEST_SUITE_P(UpToEightRanks, StagesOnEveryMesh,
                         testing::Combine(testing::ValuesIn(meshes_up_to(8)), testing::Values("RnopeSwa", "QkNorm")),
                         name_of_mesh_and_case);

// Each RoPE base changes the loss by far more than the tolerance, so the tests above would notice a wrong base.
TEST(Stages, BasesMatter) {
  for (const char* name : {"RnopeSwa", "QkNorm"}) {
    const Case c = staged_case(name, {});
    const NaiveWeights weights = random_weights(c.config.model, 41);
    for (int64_t step : {2, 4, 5}) {
      const std::vector<Sample> samples = samples_of(c, step);
      const double own = naive_loss(c.config.model, weights, samples);
      const double changed = naive_loss(model_in(c.config.model, stage_of(c, step)), weights, samples);
      EXPECT_GT(std::abs(own - changed), 1e-5) << name << ", step " << step;
    }
  }
}

// Stopped after each step: within stages and between stages.
TEST(Stages, StoppedAndResumedGiveTheSameBits) {
  for (const BackendKind backend : {BackendKind::kReferenceF64, BackendKind::kCpu, BackendKind::kCpuBF16}) {
    for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{1, 4, 1}, MeshShape{2, 2, 2}}) {
      const Case c = staged_case("QkNorm", mesh, backend);
      const NaiveWeights weights = random_weights(c.config.model, 42);
      const Steps whole = steps(c, weights, 0, kSteps);
      for (int64_t stop = 1; stop < kSteps; ++stop) {
        const Steps rest = steps(c, steps(c, weights, 0, stop).state, stop, kSteps);
        EXPECT_EQ(rest.state, whole.state) << text_of(mesh) << ", stopped after " << stop;
        for (size_t i = 0; i < rest.losses.size(); ++i)
          EXPECT_EQ(rest.losses[i], whole.losses[i + static_cast<size_t>(stop)]) << text_of(mesh) << " " << stop;
      }
    }
  }
}

// One mesh up to a step inside a stage, then another mesh.
TEST(Stages, GoOnOnAnotherMesh) {
  const MeshShape from{1, 4, 2}, to{1, 2, 4};
  const Case before = staged_case("RnopeSwa", from), after = staged_case("RnopeSwa", to);
  const NaiveWeights weights = random_weights(before.config.model, 43);
  const Steps whole = steps(staged_case("RnopeSwa", {}), weights, 0, kSteps);
  for (int64_t stop : {1, 3}) {
    const Steps rest = steps(after, steps(before, weights, 0, stop).state, stop, kSteps);
    expect_same_steps(rest, whole, "one rank", static_cast<size_t>(stop));
  }
}

// Validation and samples of text use the length and the RoPE base of the current stage.
TEST(Stages, AreFollowedByInference) {
  for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{1, 3, 1}, MeshShape{1, 2, 2}}) {
    const Case c = staged_case("QkNorm", mesh);
    const NaiveWeights weights = random_weights(c.config.model, 44);
    on_mesh(c.config, [&](RankRun& run) {
      set_state(run, weights);
      for (int64_t step = 0; step < kSteps; ++step) {
        const Stage& stage = stage_of(c, step);
        run.trainer.begin_stage(stage);
        const std::vector<Sample> samples = samples_of(c, step);
        const ModelConfig model = model_in(c.config.model, stage);
        const double loss = naive_loss(model, weights, samples);
        EXPECT_NEAR(
            evaluate(run.trainer.predictor(), run.share_of(samples), {stage.micro_batch, 1}, run.mesh).mean().value(),
            loss, kTolerance * loss)
            << step;
        // log softmax(logits)[t] is minus the loss of target t at the last position.
        Sample prompt = random_sample(11, c.config.model.vocabulary, {}, 45);
        std::fill(prompt.targets.begin(), prompt.targets.end() - 1, -1);
        const std::vector<double> logits = run.trainer.predictor().next_token_logits(prompt.tokens);
        double sum = 0;
        for (double logit : logits) sum += std::exp(logit);
        const double expected = naive_loss(model, weights, {prompt});
        EXPECT_NEAR(std::log(sum) - logits[static_cast<size_t>(prompt.targets.back())], expected,
                    kTolerance * expected);
      }
    });
  }
}

// A step without begin_stage() for its stage is refused.
TEST(Stages, AStepOfAnotherStageIsRefused) {
  const Case c = staged_case("RnopeSwa", {});
  on_mesh(c.config, [&](RankRun& run) {
    EXPECT_THROW(run.trainer.step(run.share_of(samples_of(c, 1)), 2), std::logic_error);
    run.trainer.begin_stage(stage_of(c, 2));
    EXPECT_THROW(run.trainer.step(run.share_of(samples_of(c, 2)), 1), std::logic_error);
    EXPECT_THROW(run.trainer.step(run.share_of(samples_of(c, 1)), 2), std::logic_error);  // of another length
  });
}

}  // namespace
}  // namespace ropewalk

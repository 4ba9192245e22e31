// A run gives the same bits when it is repeated on the same mesh, and when it is stopped and resumed there. A
// checkpoint that is resumed on another mesh gives the same numbers, to rounding.
#include <gtest/gtest.h>

#include "kernels/make_kernels.h"
#include "tests/equivalence/cases.h"
#include "tests/equivalence/mesh_run.h"
#include "tests/kernels/backends.h"
#include "tests/support/models.h"
#include "tests/support/temporary_directory.h"
#include "trainer/checkpoint/checkpoint.h"

namespace ropewalk {
namespace {

Case training_case(const MeshShape& mesh, BackendKind backend) {
  Case c = make_case("RnopeSwa", mesh);
  c.config.parallel.backend = backend;
  c.config.training.stages[0].batch = 4;
  c.config.training.learning_rate = 0.02;
  c.config.training.epsilon = 1e-3;  // see kStepsTolerance
  return c;
}

const std::vector<MeshShape> kMeshes = {{1, 1, 1}, {4, 1, 1}, {1, 4, 1}, {1, 1, 4}, {2, 2, 2}, {1, 3, 2}};

class SameMesh : public testing::TestWithParam<std::tuple<MeshShape, BackendKind>> {
 protected:
  const Case case_ = training_case(std::get<0>(GetParam()), std::get<1>(GetParam()));
  const NaiveWeights weights_ = random_weights(case_.config.model, 31);
  Steps steps(const NaiveWeights& state, int64_t first, int64_t last) const {
    return steps_on_mesh(
        case_.config, state, [this](int64_t step) { return samples_of_step(case_, step); }, first, last);
  }
};

TEST_P(SameMesh, GivesTheSameBitsTwice) { EXPECT_TRUE(steps(weights_, 0, 3) == steps(weights_, 0, 3)); }

TEST_P(SameMesh, StoppedAndResumedGivesTheSameBits) {
  const Steps whole = steps(weights_, 0, 4);
  const Steps first = steps(weights_, 0, 2);
  const Steps second = steps(first.state, 2, 4);
  EXPECT_EQ(second.state, whole.state);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(first.losses[i], whole.losses[i]);
    EXPECT_EQ(second.losses[i], whole.losses[i + 2]);
    EXPECT_EQ(second.gradient_norms[i], whole.gradient_norms[i + 2]);
    EXPECT_EQ(second.rates[i], whole.rates[i + 2]);
  }
}

std::string test_name(const testing::TestParamInfo<std::tuple<MeshShape, BackendKind>>& info) {
  return text_of(std::get<0>(info.param)) + "_" + name_of_backend(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Meshes, SameMesh,
                         testing::Combine(testing::ValuesIn(kMeshes),
                                          testing::Values(BackendKind::kReferenceF64, BackendKind::kReferenceBF16,
                                                          BackendKind::kCpu, BackendKind::kCpuBF16)),
                         test_name);

// Steps [0, 2) as `before`, a checkpoint, steps [2, 4) as `after`.
Steps through_checkpoint(const Case& before, const Case& after, const NaiveWeights& weights) {
  const TemporaryDirectory scratch;
  on_mesh(before.config, [&](RankRun& run) {
    set_state(run, weights);
    run_steps(
        run, [&](int64_t step) { return samples_of_step(before, step); }, 0, 2);
    save_checkpoint(scratch.path(), {2, 4, 100}, run.trainer.state(), {"text", {}}, run.mesh, run.kernels);
  });
  Gathering gathering;
  std::vector<Steps> by_rank(static_cast<size_t>(after.config.parallel.mesh.size()));
  on_mesh(after.config, [&](RankRun& run) {
    const auto loaded = load_newest_checkpoint(scratch.path(), run.trainer.state(), run.mesh, run.kernels,
                                               [](const std::string& warning) { ADD_FAILURE() << warning; });
    ASSERT_TRUE(loaded.has_value());
    EXPECT_EQ(loaded->progress, (TrainingProgress{2, 4, 100}));
    run.trainer.state_loaded();
    Steps& steps = by_rank[static_cast<size_t>(run.mesh.world().rank())];
    steps = run_steps(
        run, [&](int64_t step) { return samples_of_step(after, step); }, 2, 4);
    gathering.add(run.trainer.state(), run.kernels);
  });
  by_rank[0].state = gathering.whole();
  return by_rank[0];
}

constexpr BackendKind kResumed[] = {BackendKind::kReferenceF64, BackendKind::kReferenceBF16, BackendKind::kCpu,
                                    BackendKind::kCpuBF16};

TEST(Checkpoint, OnTheSameMeshGoesOnWithTheSameBits) {
  for (BackendKind backend : kResumed) {
    for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{2, 2, 2}}) {
      const Case c = training_case(mesh, backend);
      const NaiveWeights weights = random_weights(c.config.model, 32);
      const Steps whole = steps_on_mesh(
          c.config, weights, [&](int64_t step) { return samples_of_step(c, step); }, 0, 4);
      const Steps resumed = through_checkpoint(c, c, weights);
      EXPECT_EQ(resumed.state, whole.state) << text_of(mesh);
      for (size_t i = 0; i < 2; ++i) EXPECT_EQ(resumed.losses[i], whole.losses[i + 2]) << text_of(mesh);
    }
  }
}

// From mesh to mesh, all with the same model and the same four sequences per step, against one rank that never stopped.
// The loaded state has the bits that were saved; after that, fp64 stays within kStepsTolerance. In fp32 the sums of a
// step (some hundred terms in about 24 stages) err by at most about 1e3 * 2^-24 = 6e-5, and typically by sqrt(1e3) *
// 2^-24 = 2e-6. AdamW with epsilon 1e-3 and rate 0.02 then moves weights of about 1 apart by at most 0.02 * 2e-6 * 0.1
// / 1e-3 = 4e-6 per step.
TEST(Checkpoint, OnAnotherMeshGoesOnWithTheSameNumbers) {
  const std::vector<std::pair<MeshShape, MeshShape>> pairs = {{{1, 1, 1}, {2, 2, 2}}, {{2, 2, 2}, {1, 4, 2}},
                                                              {{1, 4, 2}, {1, 1, 8}}, {{1, 1, 8}, {4, 2, 1}},
                                                              {{4, 2, 1}, {1, 1, 1}}, {{1, 2, 2}, {2, 1, 4}}};
  for (BackendKind backend : {BackendKind::kReferenceF64, BackendKind::kCpu}) {
    const double tolerance = backend == BackendKind::kCpu ? 2e-5 : kStepsTolerance;
    const Case one = training_case({}, backend);
    const NaiveWeights weights = random_weights(one.config.model, 33);
    const Steps whole = steps_on_mesh(
        one.config, weights, [&](int64_t step) { return samples_of_step(one, step); }, 0, 4);
    for (const auto& [from, to] : pairs) {
      const std::string name = text_of(from) + " to " + text_of(to);
      const Steps resumed = through_checkpoint(training_case(from, backend), training_case(to, backend), weights);
      for (size_t i = 0; i < 2; ++i) {
        EXPECT_NEAR(resumed.losses[i], whole.losses[i + 2], tolerance * whole.losses[i + 2]) << name;
        EXPECT_NEAR(resumed.gradient_norms[i], whole.gradient_norms[i + 2], tolerance * whole.gradient_norms[i + 2])
            << name;
      }
      const Difference worst = difference(resumed.state, whole.state);
      EXPECT_LE(worst.relative, tolerance) << name << ": " << worst.where;
    }
  }
}

// A checkpoint holds the master weights and moments, which both precisions have: the run goes on with the bits of a
// trainer that was given this state.
TEST(Checkpoint, InEitherPrecisionGoesOnInTheOther) {
  const std::vector<std::pair<BackendKind, BackendKind>> precisions = {{BackendKind::kCpu, BackendKind::kCpuBF16},
                                                                       {BackendKind::kCpuBF16, BackendKind::kCpu},
                                                                       {BackendKind::kCpuBF16, BackendKind::kCpuBF16}};
  const std::vector<std::pair<MeshShape, MeshShape>> meshes = {
      {{1, 1, 1}, {1, 1, 1}}, {{2, 2, 2}, {1, 1, 1}}, {{1, 1, 1}, {1, 2, 2}}, {{4, 1, 1}, {2, 1, 2}}};
  for (const auto& [from, to] : meshes)
    for (const auto& [first, then] : precisions) {
      const Case before = training_case(from, first), after = training_case(to, then);
      const NaiveWeights weights = random_weights(before.config.model, 34);
      const auto steps = [](const Case& c, const NaiveWeights& state, int64_t begin, int64_t end) {
        return steps_on_mesh(
            c.config, state, [&](int64_t step) { return samples_of_step(c, step); }, begin, end);
      };
      EXPECT_TRUE(through_checkpoint(before, after, weights) == steps(after, steps(before, weights, 0, 2).state, 2, 4))
          << text_of(from) << " in " << name_of_backend(first) << ", then " << text_of(to) << " in "
          << name_of_backend(then);
    }
}

}  // namespace
}  // namespace ropewalk

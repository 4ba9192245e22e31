// Whole optimizer steps on every mesh of up to eight ranks: against one rank, and against the naive model with the
// naive AdamW.
#include <gtest/gtest.h>

#include "tests/equivalence/cases.h"
#include "tests/equivalence/compare_steps.h"
#include "tests/support/models.h"

namespace ropewalk {
namespace {

constexpr int64_t kSteps = 4;

// epsilon is large so that kStepsTolerance holds.
Case training_case(const std::string& name, const MeshShape& mesh) {
  Case c = make_case(name, mesh);
  c.config.training.steps = kSteps + 2;
  c.config.training.learning_rate = 0.02;
  c.config.training.warmup_steps = 2;
  c.config.training.epsilon = 1e-3;
  c.config.training.clip_norm = name == "RnopeSwa" ? 0.5 : 0;  // 0: no clipping
  return c;
}

class StepsOnEveryMesh : public testing::TestWithParam<MeshAndCase> {
 protected:
  static inline SerialReference serial_;
};

TEST_P(StepsOnEveryMesh, TakesTheStepsOfOneRankAndOfTheNaiveModel) {
  const auto& [mesh, name] = GetParam();
  const Case c = training_case(name, mesh);
  const NaiveWeights weights = random_weights(c.config.model, 21);
  const auto samples = [&](int64_t step) { return samples_of_step(c, step); };
  const Steps many = steps_on_mesh(c.config, weights, samples, 0, kSteps);
  const auto& [one_rank, naive] = serial_.of(
      c, [&](int64_t) { return c.config.model; }, samples, weights, kSteps);
  const double clip = c.config.training.clip_norm;
  ASSERT_TRUE(clip == 0 || naive.gradient_norms[0] > clip) << "nothing is clipped at " << naive.gradient_norms[0];
  EXPECT_EQ(many.rates, one_rank.rates);
  expect_same_steps(without_moments(many), naive, "the naive model");
  if (mesh.size() > 1) expect_same_steps(many, one_rank, "one rank");
}

INSTANTIATE_TEST_SUITE_P(UpToEightRanks, StepsOnEveryMesh,
                         testing::Combine(testing::ValuesIn(meshes_up_to(8)),
                                          testing::Values("RnopeSwa", "QkNorm", "MaskedTargets")),
                         name_of_mesh_and_case);

// Initial weights are a function of the seed, the name and the index in the whole tensor: the same bits on every mesh.
TEST(InitialWeights, AreTheSameBitsOnEveryMesh) {
  for (const MeshShape& mesh : meshes_up_to(8)) {
    const Case c = make_case("QkNorm", mesh);
    const Steps many = steps_on_mesh(c.config, {}, {}, 0, 0);
    EXPECT_EQ(many.state, steps_on_mesh(on_one_rank(c.config), {}, {}, 0, 0).state) << text_of(mesh);
  }
}

TEST(InitialWeights, AreWhatTheConfigurationSays) {
  Case c = make_case("QkNorm", {});
  c.config.training.seed = 5;
  const NaiveWeights state = steps_on_mesh(c.config, {}, {}, 0, 0).state;
  c.config.training.seed = 6;
  const NaiveWeights other = steps_on_mesh(c.config, {}, {}, 0, 0).state;
  double squares = 0, sum = 0;
  int64_t count = 0;
  for (const auto& [name, shape] : naive_shapes(c.config.model)) {
    ASSERT_TRUE(state.contains(name)) << name;
    ASSERT_EQ(static_cast<int64_t>(state.at(name).size()), shape.first * shape.second) << name;
    const bool is_norm = name.find("norm") != std::string::npos;
    EXPECT_EQ(state.at(name) == other.at(name), is_norm) << name;
    for (double w : state.at(name)) {
      if (is_norm) {
        EXPECT_EQ(w, 1) << name;
      } else {
        sum += w, squares += w * w, ++count;
      }
    }
    for (const char* moment : {"optimizer.m.", "optimizer.v."}) {
      for (double value : state.at(moment + name)) EXPECT_EQ(value, 0) << moment << name;
    }
  }
  EXPECT_EQ(state.size(), 3 * naive_shapes(c.config.model).size());
  // For n normal numbers the mean has a standard deviation of 1 / sqrt(n), the mean square of sqrt(2 / n); five of each
  // are allowed.
  const double n = static_cast<double>(count), range = c.config.model.initializer_range;
  EXPECT_NEAR(sum / n / range, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(squares / n / (range * range), 1, 5 * std::sqrt(2 / n));
}

}  // namespace
}  // namespace ropewalk

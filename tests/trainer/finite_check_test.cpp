#include "trainer/finite_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "tests/support/models.h"
#include "tests/support/ranks.h"
#include "tests/support/training.h"
#include "trainer/evaluation/evaluate.h"

namespace ropewalk {
namespace {

// Puts a NaN into one weight of one rank, as a bad device or file would, and takes a step.
std::string message_of_a_step_with_nan(const MeshShape& mesh, int bad_rank, const std::string& name) {
  const Config config = test_config(small_model({sliding_rope(3), full_nope()}), mesh, 16, 2);
  std::vector<std::string> messages(static_cast<size_t>(mesh.size()));
  run_ranks(mesh.size(), [&](const std::shared_ptr<Communicator>& world) {
    RankOnThread here(config, world);
    Trainer trainer(config, here.rank());
    trainer.initialize();
    if (world->rank() == bad_rank)
      for (const StateTensor& state : trainer.state())
        if (state.name == name && state.data.elements() > 0)
          here.kernels().fill(state.data.flat().slice(0, 1), std::numeric_limits<double>::quiet_NaN());
    Batch batch;
    for (uint64_t s = 0; s < 2 / static_cast<uint64_t>(mesh.data_parallel); ++s)
      batch.samples.push_back(random_sample(16, config.model.vocabulary, {7}, s));
    try {
      trainer.step(batch, 4);
    } catch (const NumericalError& error) {
      messages[static_cast<size_t>(world->rank())] = error.what();
    }
  });
  for (const std::string& message : messages) EXPECT_EQ(message, messages[0]);  // all ranks stop with the same message
  return messages[0];
}

TEST(FiniteCheck, NamesStepRankAndTensor) {
  const std::string name = "model.layers.1.self_attn.o_proj.weight";
  for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{1, 1, 2}}) {
    const int bad = mesh.size() - 1;
    const std::string message = message_of_a_step_with_nan(mesh, bad, name);
    EXPECT_NE(message.find("step 5: "), std::string::npos) << message;
    EXPECT_NE(message.find("rank " + std::to_string(bad) + ": the weight " + name + ", element 0"), std::string::npos)
        << message;
  }
}

TEST(FiniteCheck, AStepWithoutTargetsHasNoLossAndIsNoError) {
  for (const MeshShape& mesh : {MeshShape{1, 1, 1}, MeshShape{1, 2, 1}, MeshShape{2, 1, 1}}) {
    const Config config = test_config(small_model({sliding_rope(3), full_nope()}), mesh, 16, 2);
    run_ranks(mesh.size(), [&](const std::shared_ptr<Communicator>& world) {
      RankOnThread here(config, world);
      Trainer trainer(config, here.rank());
      trainer.initialize();
      Batch batch;
      for (uint64_t s = 0; s < 2 / static_cast<uint64_t>(mesh.data_parallel); ++s) {
        batch.samples.push_back(random_sample(16, config.model.vocabulary, {7}, s));
        std::ranges::fill(batch.samples.back().targets, -1);
      }
      const StepResult result = trainer.step(batch, 4);
      EXPECT_EQ(result.loss, std::nullopt);
      EXPECT_EQ(result.gradient_norm, 0);
      EXPECT_NO_THROW(trainer.check_weights(5));
      const LossByPosition losses = evaluate(trainer.predictor(), batch, {1, 4}, here.mesh());
      EXPECT_EQ(losses.mean(), std::nullopt);
      EXPECT_EQ(losses.means(), std::vector<std::optional<double>>(4));
      if (mesh.data_parallel == 2 && world->rank() == 1) batch.samples[0].targets[0] = 3;  // only one rank has a target
      if (mesh.data_parallel == 2) {
        EXPECT_GT(trainer.step(batch, 5).loss.value(), 0);
      }
    });
  }
}

TEST(FiniteCheck, WeightsStayWhatTheyWere) {
  const Config config = test_config(small_model({full_nope()}), {}, 16, 1);
  run_ranks(1, [&](const std::shared_ptr<Communicator>& world) {
    RankOnThread here(config, world);
    Trainer trainer(config, here.rank());
    trainer.initialize();
    const auto weights = [&] {
      std::vector<double> all;
      for (const StateTensor& state : trainer.state()) {
        if (state.name.starts_with("optimizer.")) continue;
        std::vector<double> part(static_cast<size_t>(state.data.elements()));
        here.kernels().download(state.data, part.data());
        all.insert(all.end(), part.begin(), part.end());
      }
      return all;
    };
    Batch batch{{random_sample(16, config.model.vocabulary, {}, 1)}};
    for (const StateTensor& state : trainer.state())
      if (state.name == "model.norm.weight") here.kernels().fill(state.data, std::numeric_limits<double>::infinity());
    const std::vector<double> before = weights();
    EXPECT_THROW(trainer.step(batch, 0), NumericalError);
    EXPECT_EQ(weights(), before);
  });
}

}  // namespace
}  // namespace ropewalk

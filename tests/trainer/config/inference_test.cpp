// The configuration of a job that has a model and no run.
#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/trainer/config/config_text.h"
#include "trainer/config/model_text.h"

namespace ropewalk {
namespace {

constexpr char kModel[] = R"(
model {
  layers: 8 width: 64 hidden: 96 query_heads: 12 key_heads: 4 head_size: 16 vocabulary: 20
  pattern { mask: SLIDING window: 32 position: ROPE theta: 10000 }
  pattern { mask: FULL }
}
)";

Config inference_config(const std::vector<std::string>& overrides, std::optional<int> ranks = std::nullopt) {
  return parse_inference_config(kModel, "the model", overrides, ranks);
}

TEST(InferenceConfig, NeedsAModelAndNothingElse) {
  const Config config =
      inference_config({"parallel.tensor_parallel=2", "training.loss_chunk=7", "model.logit_scale=3"}, 6);
  EXPECT_EQ(config.model.layers.size(), 8u);
  EXPECT_EQ(config.model.vocabulary, 20);  // less than any tokenizer's
  EXPECT_EQ(config.model.logit_scale, 3);
  EXPECT_EQ(config.training.loss_chunk, 7);
  EXPECT_EQ(config.parallel.mesh, (MeshShape{3, 1, 2}));
  ASSERT_EQ(config.training.stages.size(), 1u);
  EXPECT_EQ(config.training.stages[0].batch, 3);
  EXPECT_EQ(config.training.stages[0].micro_batch, 1);
  EXPECT_EQ(inference_config({}, 1).training.loss_chunk, config_with({}).training.loss_chunk);
  EXPECT_EQ(inference_config({}, 1).parallel.backend, BackendKind::kCpu);
  EXPECT_EQ(inference_config({"training.precision=BF16"}, 1).parallel.backend, BackendKind::kCpuBF16);
}

TEST(InferenceConfig, FollowsTheRulesOfTheModelAndTheMesh) {
  const auto refused = [](const std::vector<std::string>& overrides, const std::vector<std::string>& parts) {
    expect_error<ConfigurationError>([&] { inference_config(overrides, 5); }, parts);
  };
  refused({"parallel.tensor_parallel=5"},
          {"the model has 3 problems:", "1. model.query_heads = 12", "parallel.tensor_parallel = 5"});
  refused({"parallel.context_parallel=2"}, {"must divide the number of ranks, which is 5"});
  refused({"model.pattern.0.window=0"}, {"model.pattern.0.window = 0"});
  refused({"model.widht=3"}, {"did you mean model.width?"});
  expect_error<ConfigurationError>([] { parse_inference_config("model { layers: 3 }", "the model", {}, 1); },
                                   {"model.width is not set", "model.pattern"});
}

TEST(InferenceConfig, RefusesToSetWhatIsNotUsed) {
  for (const std::string setting : {"training.steps=5", "data.prefix=a", "output={directory: \"a\"}", "modelling=3"})
    expect_error<ConfigurationError>([&] { inference_config({setting}, 1); },
                                     {"--set " + setting, "is not used here; leave it out"});
}

// The theta of the stage to which the last step belonged, in layers with RoPE.
TEST(ModelGroup, HasTheThetaOfTheStage) {
  const Config run =
      config_with({"training.stages.0.first_step=10", "training.stages.0.theta=500", "training.stages.1.first_step=20",
                   "training.stages.1.batch=2", "training.stages.2.first_step=30", "training.stages.2.theta=700"});
  for (const auto& [steps, theta] :
       {std::pair<int64_t, double>{0, 10000}, {10, 10000}, {11, 500}, {20, 500}, {30, 500}, {31, 700}, {90, 700}}) {
    const Config config =
        parse_inference_config(model_group_of(run.resolved_text, steps, "run"), "the model", {}, std::nullopt);
    EXPECT_EQ(config.model.layers[0].theta, theta) << steps;
    EXPECT_EQ(config.model.layers[1].position, LayerKind::Position::kNone);
    EXPECT_EQ(config.model.layers[0].window, 32);
  }
}

}  // namespace
}  // namespace ropewalk

// training.stages as the trainer sees them: all fields resolved, and the stage of each step.
#include "trainer/config/stages.h"

#include <gtest/gtest.h>

#include "tests/trainer/config/config_text.h"

namespace ropewalk {
namespace {

TEST(Stages, WithoutAnyTheRunIsOneStage) {
  const Config config = config_with({"training.batch=6", "training.micro_batch=3"});
  ASSERT_EQ(config.training.stages.size(), 1u);
  const Stage& stage = config.training.stages[0];
  EXPECT_EQ(stage.first_step, 0);
  EXPECT_EQ(stage.prefix, "text");
  EXPECT_EQ(stage.sequence_length, 128);
  EXPECT_EQ(stage.batch, 6);
  EXPECT_EQ(stage.micro_batch, 3);
  EXPECT_EQ(stage.theta, std::nullopt);
  for (int64_t step : {0, 1, 99, 1000}) EXPECT_EQ(stage_at(config.training, step), 0u);
  EXPECT_EQ(steps_left_in(config.training, 0), 100);
  EXPECT_EQ(steps_left_in(config.training, 0, 30), 70);
  EXPECT_EQ(steps_left_in(config.training, 0, 130), 0);
}

TEST(Stages, ChangeWhatTheyNameAndKeepTheRest) {
  const Config config = config_with(
      {"training.batch=8", "training.micro_batch=2", "training.stages.0.first_step=10", "training.stages.0.batch=4",
       "training.stages.1.first_step=20", "training.stages.1.theta=5e5", "training.stages.1.sequence_length=256",
       "training.stages.2.first_step=21", "training.stages.2.micro_batch=4", "training.stages.3.first_step=30",
       "training.stages.3.prefix=long", "training.stages.3.theta=4e6"});
  struct Expected {
    int64_t first_step;
    const char* prefix;
    int64_t length, batch, micro_batch;
    std::optional<double> theta;
    int64_t order_begin;
  };
  const Expected expected[] = {{0, "text", 128, 8, 2, std::nullopt, 0},
                               {10, "text", 128, 4, 2, std::nullopt, 0},  // same data and length: the order continues
                               {20, "text", 256, 4, 2, 5e5, 20},
                               {21, "text", 256, 4, 4, 5e5, 20},
                               {30, "long", 256, 4, 4, 4e6, 30}};
  const std::vector<Stage>& stages = config.training.stages;
  ASSERT_EQ(stages.size(), std::size(expected));
  for (size_t i = 0; i < stages.size(); ++i) {
    EXPECT_EQ(stages[i].first_step, expected[i].first_step) << i;
    EXPECT_EQ(stages[i].prefix, expected[i].prefix) << i;
    EXPECT_EQ(stages[i].sequence_length, expected[i].length) << i;
    EXPECT_EQ(stages[i].batch, expected[i].batch) << i;
    EXPECT_EQ(stages[i].micro_batch, expected[i].micro_batch) << i;
    EXPECT_EQ(stages[i].theta, expected[i].theta) << i;
    EXPECT_EQ(stages[i].order_begin, expected[i].order_begin) << i;
  }
  EXPECT_EQ(stage_text(stages[1]), "sequences of 128 tokens, 4 a step");
  EXPECT_EQ(stage_text(stages[4]), "sequences of 256 tokens, 4 a step, theta 4000000");
}

TEST(Stages, MayBlendDatasets) {
  std::string text = kSmallest;
  const size_t prefix = text.find("prefix: \"text\"");
  ASSERT_NE(prefix, std::string::npos);
  text.replace(prefix, 14, "blend { prefix: \"a\" weight: 3 } blend { prefix: \"b\" weight: 1 }");
  const Config config = parse_config(
      text, "run.textproto",
      std::vector<std::string>{"training.stages.0.first_step=10", "training.stages.0.batch=2",
                               "training.stages.1.first_step=20", "training.stages.1.prefix=c",
                               "training.stages.2.first_step=30",
                               "training.stages.2.blend=[{prefix: \"a\" weight: 1}, {prefix: \"c\" weight: 1}]"},
      1);
  const std::vector<Stage>& stages = config.training.stages;
  const std::vector<DataSource> first = {{"a", 3}, {"b", 1}};
  EXPECT_EQ(stages[0].blend, first);
  EXPECT_EQ(stages[1].blend, first);
  EXPECT_EQ(stages[1].order_begin, 0);
  EXPECT_EQ(stages[2].prefix, "c");
  EXPECT_TRUE(stages[2].blend.empty());
  EXPECT_EQ(stages[2].order_begin, 20);
  EXPECT_EQ(stages[3].prefix, "");
  EXPECT_EQ(stages[3].order_begin, 30);
  EXPECT_EQ(data_text(stages[0]), "0.75 of a, 0.25 of b");
  EXPECT_EQ(data_text(stages[2]), "c");
  EXPECT_EQ(sources_of(stages[2]), (std::vector<DataSource>{{"c", 1}}));
  const Config again = parse_config(config.resolved_text, "again", {}, 1);
  EXPECT_EQ(again.training.stages[0].blend, first);
  EXPECT_EQ(again.training.stages[3].blend, stages[3].blend);
  const Config other =
      parse_config(config.resolved_text, "again", std::vector<std::string>{"data.blend=[]", "data.prefix=d"}, 1);
  EXPECT_EQ(other.training.stages[0].prefix, "d");
  EXPECT_TRUE(other.training.stages[0].blend.empty());
}

// From the command line, in a configuration that has a prefix.
TEST(Stages, ABlendReplacesAPrefixThatIsEmptied) {
  const Config config =
      config_with({"data.prefix=", "data.blend=[{prefix: \"a\" weight: 1}]", "training.stages.0.first_step=10",
                   "training.stages.0.prefix=", "training.stages.0.blend=[{prefix: \"b\" weight: 2}]"});
  EXPECT_EQ(config.training.stages[0].blend, (std::vector<DataSource>{{"a", 1}}));
  EXPECT_EQ(config.training.stages[1].blend, (std::vector<DataSource>{{"b", 2}}));
  EXPECT_EQ(parse_config(config.resolved_text, "again", {}, std::nullopt).training.stages[0].blend,
            config.training.stages[0].blend);
}

TEST(Stages, BeginWithTheStepAfterFirstStepSteps) {
  const Config config = config_with({"training.stages.0.first_step=1", "training.stages.1.first_step=7"});
  size_t stage = 0;
  std::vector<int64_t> counted(3);
  for (int64_t step = 0; step < 100; ++step) {
    if (step == 1 || step == 7) ++stage;
    EXPECT_EQ(stage_at(config.training, step), stage) << step;
    ++counted[stage];
  }
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(steps_left_in(config.training, i), counted[i]);
  EXPECT_EQ(steps_left_in(config.training, 0, 5), 0);
  EXPECT_EQ(steps_left_in(config.training, 1, 5), 2);
  EXPECT_EQ(steps_left_in(config.training, 2, 5), 93);
}

TEST(Stages, AreInTheResolvedText) {
  const Config config = config_with({"training.stages.0.first_step=10", "training.stages.0.theta=5e5"});
  const Config again = parse_config(config.resolved_text, "again", {}, std::nullopt);
  EXPECT_EQ(again.resolved_text, config.resolved_text);
  EXPECT_EQ(again.training.stages[1].theta, 5e5);
}

}  // namespace
}  // namespace ropewalk

// The model of a checkpoint completes a configuration, binds its shape, and is compared with it in all other fields.
#include "trainer/config/checkpoint_model.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/trainer/config/config_text.h"
#include "trainer/config/model_text.h"

namespace ropewalk {
namespace {

using Lines = std::vector<std::string>;

constexpr char kRest[] =
    R"(data { prefix: "text" sequence_length: 128 } training { steps: 100 } output { directory: "run" })";

// The smallest configuration's model, with overrides, as that of training.start_from.
CheckpointModel start(std::initializer_list<std::string> overrides = {}) {
  return {.checkpoint = "base/step-00000008",
          .text = model_group_of(config_with(overrides).resolved_text, 0, "base"),
          .is_start_from = true};
}
CheckpointModel own(std::initializer_list<std::string> overrides) {
  CheckpointModel out = start(overrides);
  out.is_start_from = false;
  return out;
}

Config completed(const std::string& model, const std::vector<std::string>& overrides, const CheckpointModel& from) {
  return parse_config(model + kRest, "run.textproto", overrides, std::nullopt, 0, from);
}

void expect_refused(const std::string& model, const std::vector<std::string>& overrides, const CheckpointModel& from,
                    int problems, const std::vector<std::string>& parts) {
  std::vector<std::string> all = parts;
  all.push_back(fmt::format("run.textproto has {} problem{}:", problems, problems == 1 ? "" : "s"));
  expect_error<ConfigurationError>([&] { completed(model, overrides, from); }, all);
}

TEST(CheckpointModel, IsTheModelOfAConfigurationWithoutOne) {
  for (const CheckpointModel& from : {start({"model.logit_scale=0.25"}), own({"model.logit_scale=0.25"})}) {
    const Config config = completed("", {}, from);
    EXPECT_EQ(config.resolved_text, config_with({"model.logit_scale=0.25"}).resolved_text);
    EXPECT_EQ(parse_config(config.resolved_text, "again", {}, std::nullopt).resolved_text, config.resolved_text);
  }
}

TEST(CheckpointModel, GivesEachFieldThatIsNotSet) {
  const CheckpointModel from = start({"model.logit_scale=0.25", "model.norm_epsilon=1e-6", "model.pattern.0.window=9"});
  const Config config = completed("model { width: 64 norm_epsilon: 1e-7 }", {}, from);
  EXPECT_EQ(config.model.logit_scale, 0.25);
  EXPECT_EQ(config.model.norm_epsilon, 1e-7);
  EXPECT_EQ(config.model.layers.size(), 8u);
  EXPECT_EQ(config.model.layers[2].window, 9);
  // A pattern of the file replaces the checkpoint's; fields of its entries are not completed.
  const Config full = completed("model { pattern { mask: FULL } }", {}, from);
  EXPECT_EQ(full.model.layers, std::vector<LayerKind>(8));
}

TEST(CheckpointModel, ComesBeforeOverrides) {
  const Config changed = completed("", {"model.pattern.0.theta=2e6", "model.logit_scale=2"}, start());
  EXPECT_EQ(changed.resolved_text, config_with({"model.pattern.0.theta=2e6", "model.logit_scale=2"}).resolved_text);
  const Config added = completed("", {"model.pattern.2.mask=FULL"}, start());
  EXPECT_EQ(added.model.layers[2], LayerKind());
  EXPECT_EQ(added.model.layers[3].window, 32);
  // An override that replaces the group is completed, too, before the next one.
  const Config replaced = completed("", {"model={logit_scale: 3}", "model.pattern.0.window=5"}, start());
  EXPECT_EQ(replaced.resolved_text, config_with({"model.logit_scale=3", "model.pattern.0.window=5"}).resolved_text);
}

TEST(CheckpointModel, IsNamedWhereItBreaksARule) {
  const std::vector<std::string> mesh = {"parallel.tensor_parallel=5"};
  expect_refused(
      "", mesh, start(), 3,
      {"base/step-00000008: model.query_heads = 12: must be a multiple of parallel.tensor_parallel = 5",
       "base/step-00000008: model.hidden = 96: must be", "base/step-00000008: model.key_heads = 4: must be"});
  CheckpointModel hostile = start();
  hostile.text = "model { layers: 8 width: -1 pattern { mask: SLIDING } }";
  expect_refused("", {}, hostile, 7,
                 {"base/step-00000008: model.width = -1: must be at least 1", "model.hidden is not set",
                  "model.pattern.0.window is not set, and the layer has mask: SLIDING"});
}

TEST(CheckpointModel, ShapesThatDifferAreAllReported) {
  expect_refused("model { layers: 4 width: 32 hidden: 48 query_heads: 6 key_heads: 2 head_size: 8 vocabulary: 300 }",
                 {}, start(), 7,
                 {"run.textproto:1:9: model.layers = 4: is 8 in the checkpoint base/step-00000008; set it so, or name "
                  "another checkpoint in training.start_from",
                  "model.width = 32: is 64", "model.hidden = 48: is 96", "model.query_heads = 6: is 12",
                  "model.key_heads = 2: is 4", "model.head_size = 8: is 16", "model.vocabulary = 300: is 257"});
  // A value that is wrong in itself is reported once. A run's own checkpoint is checked when it is loaded.
  expect_refused("model { width: 0 }", {}, start(), 1, {"model.width = 0: must be at least 1"});
  EXPECT_EQ(completed("model { width: 32 }", {}, own({})).model.width, 32);
}

TEST(CheckpointModel, LayersWithQkNormAreComparedOneByOne) {
  const CheckpointModel from = start({"model.pattern.1.qk_norm=LAYER_NORM"});
  EXPECT_NO_THROW(completed("", {}, from));
  // The same layers, in a pattern of another length.
  const std::string pair = "pattern { mask: FULL } pattern { mask: FULL qk_norm: LAYER_NORM } ";
  EXPECT_NO_THROW(completed("model { " + pair + pair + "}", {}, from));
  expect_refused("model { pattern { mask: FULL qk_norm: LAYER_NORM } }", {}, from, 1,
                 {"run.textproto:1:30: model.pattern.0.qk_norm = LAYER_NORM: is OFF in the checkpoint"});
  expect_refused("model { " + pair + "pattern { mask: FULL } pattern { mask: FULL } }", {}, from, 1,
                 {"model.pattern.3.qk_norm = OFF: is LAYER_NORM in the checkpoint"});
}

TEST(CheckpointModel, ThatCannotBeReadIsOneProblem) {
  const CheckpointModel lost{.checkpoint = "base", .problem = "there is no checkpoint base", .is_start_from = true};
  const std::vector<std::string> named = {"training.start_from=base"};
  expect_refused("", named, lost, 1, {"--set training.start_from=base: training.start_from = base: there is no check"});
  expect_refused("model { layers: 0 }", named, lost, 2, {"model.layers = 0: must be", "there is no checkpoint base"});
  CheckpointModel damaged = lost;
  damaged.is_start_from = false;
  expect_refused("", {}, damaged, 1,
                 {"model is not complete, and the run's checkpoint cannot complete it: there is no"});
  EXPECT_NO_THROW(parse_config(kSmallest, "smallest", {}, std::nullopt, 0, damaged)) << "the model is complete";
}

TEST(CheckpointModel, ChangesAreTold) {
  const auto told = [](std::initializer_list<std::string> before, std::initializer_list<std::string> after) {
    return model_changes(config_with(before).resolved_text, config_with(after).resolved_text);
  };
  EXPECT_EQ(told({}, {}), Lines());
  EXPECT_EQ(told({"model.initializer_range=1"}, {"training.steps=7"}), Lines());
  EXPECT_EQ(told({"model.norm_epsilon=1e-6", "model.logit_scale=0.25"},
                 {"model.pattern.0.theta=2e6", "model.pattern.0.window=64", "model.pattern.1.position=ROPE",
                  "model.pattern.1.theta=5"}),
            (Lines{"model.norm_epsilon: 1e-06 in the checkpoint, 1e-05 here",
                   "model.logit_scale: 0.25 in the checkpoint, 1 here",
                   "model.pattern.0.window: 32 in the checkpoint, 64 here",
                   "model.pattern.0.theta: 10000 in the checkpoint, 2000000 here",
                   "model.pattern.1.position: NONE in the checkpoint, ROPE here",
                   "model.pattern.1.theta: nothing in the checkpoint, 5 here"}));
  // An entry that stands for layers of two kinds; and a pattern that is only written in another way.
  EXPECT_EQ(told({"model.pattern.2.mask=FULL", "model.pattern.3.mask=SLIDING", "model.pattern.3.window=7"},
                 {"model.pattern=[{mask: FULL}, {mask: FULL}]"}),
            (Lines{"model.pattern.0.mask: SLIDING in the checkpoint, FULL here",
                   "model.pattern.0.window: 32 in the checkpoint, nothing here",
                   "model.pattern.0.position: ROPE in the checkpoint, NONE here",
                   "model.pattern.0.theta: 10000 in the checkpoint, nothing here",
                   "model.pattern.1.mask: SLIDING in the checkpoint, FULL here",
                   "model.pattern.1.window: 7 in the checkpoint, nothing here"}));
  EXPECT_EQ(told({"model.pattern=[{mask: FULL}]"}, {"model.pattern=[{mask: SLIDING window: 1}]", "model.layers=4"}),
            (Lines{"model.pattern.0.mask: FULL in the checkpoint, SLIDING here",
                   "model.pattern.0.window: nothing in the checkpoint, 1 here"}));
  EXPECT_EQ(told({"model.pattern=[{mask: SLIDING window: 5}, {}, {mask: SLIDING window: 6}, {}]"},
                 {"model.pattern=[{mask: SLIDING window: 32}, {}]"}),
            Lines{"model.pattern.0.window: 5 and 6 in the checkpoint, 32 here"});
}

}  // namespace
}  // namespace ropewalk

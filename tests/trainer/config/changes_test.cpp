#include "trainer/config/changes.h"

#include <gtest/gtest.h>

#include "tests/trainer/config/config_text.h"

namespace ropewalk {
namespace {

using Lines = std::vector<std::string>;

std::string resolved(std::initializer_list<std::string> overrides) { return config_with(overrides).resolved_text; }

TEST(ConfigChanges, NothingChangedIsNothingSaid) { EXPECT_EQ(config_changes(resolved({}), resolved({}), 0), Lines()); }

TEST(ConfigChanges, NamesEachFieldWithBothValues) {
  EXPECT_EQ(config_changes(resolved({"training.learning_rate=0.25"}), resolved({"training.learning_rate=0.5"}), 10),
            Lines{"changed since the checkpoint: training.learning_rate: 0.25 -> 0.5"});
}

TEST(ConfigChanges, WarnsOfWhatChangesTheModelOrTheSamples) {
  const Lines lines =
      config_changes(resolved({"data.seed=1", "model.norm_epsilon=1e-5", "model.pattern.0.window=8"}),
                     resolved({"data.seed=2", "model.norm_epsilon=1e-6", "model.pattern.0.window=16"}), 10);
  EXPECT_EQ(lines, (Lines{"warning: changed since the checkpoint: data.seed: 1 -> 2",
                          "warning: changed since the checkpoint: model.norm_epsilon: 1e-05 -> 1e-06",
                          "warning: changed since the checkpoint: model.pattern.0.window: 8 -> 16"}));
}

TEST(ConfigChanges, TellHowToKeepWhatADeviceChooses) {
  EXPECT_EQ(config_changes(resolved({"training.loss_chunk=4096"}), resolved({}), 10),
            Lines{"changed since the checkpoint: training.loss_chunk: 4096 -> 1024 (sums in another order; "
                  "--set training.loss_chunk=4096 for the same bits)"});
}

TEST(ConfigChanges, TellAnotherPrecision) {
  EXPECT_EQ(config_changes(resolved({"training.precision=BF16"}), resolved({}), 10),
            Lines{"changed since the checkpoint: training.precision: BF16 -> FP32"});
  EXPECT_EQ(config_changes(resolved({}), resolved({"parallel.device=REFERENCE"}), 10),
            Lines{"changed since the checkpoint: training.precision: FP32 -> FP64"});
}

// Configurations of runs from before the field was added have none: they computed in the precision of their device.
TEST(ConfigChanges, KnowThePrecisionOfOlderRuns) {
  std::string older = resolved({});
  const std::string line = "  precision: FP32\n";
  ASSERT_NE(older.find(line), std::string::npos) << older;
  older.erase(older.find(line), line.size());
  EXPECT_EQ(config_changes(older, resolved({}), 10), Lines());
  EXPECT_EQ(config_changes(older, resolved({"training.precision=BF16"}), 10),
            Lines{"changed since the checkpoint: training.precision: FP32 -> BF16"});
}

TEST(ConfigChanges, LeavesOutWhereAndHowOftenARunWrites) {
  EXPECT_EQ(config_changes(resolved({"output.log_interval=1", "checkpoint.keep=1"}),
                           resolved({"output.log_interval=2", "checkpoint.keep=2"}), 10),
            Lines());
}

// A stage that has not begun may be changed freely; changes of a stage that had begun are warnings.
TEST(ConfigChanges, WarnsOfStagesThatHadBegun) {
  const std::string before = resolved({"training.stages.0.first_step=40", "training.stages.0.batch=2",
                                       "training.stages.1.first_step=80", "training.stages.1.theta=1e5"});
  const std::string after = resolved({"training.stages.0.first_step=40", "training.stages.0.batch=4",
                                      "training.stages.1.first_step=70", "training.stages.1.sequence_length=256"});
  const auto lines_after = [&](int64_t step, bool first, bool second) {
    const char *one = first ? "warning: " : "", *two = second ? "warning: " : "";
    EXPECT_EQ(
        config_changes(before, after, step),
        (Lines{fmt::format("{}changed since the checkpoint: training.stages.0.batch: 2 -> 4", one),
               fmt::format("{}changed since the checkpoint: training.stages.1.first_step: 80 -> 70", two),
               fmt::format("{}changed since the checkpoint: training.stages.1.sequence_length: nothing -> 256", two),
               fmt::format("{}changed since the checkpoint: training.stages.1.theta: 100000 -> nothing", two)}));
  };
  lines_after(40, false, false);  // at its first_step, no step of the stage is done
  lines_after(41, true, false);
  lines_after(70, true, false);
  lines_after(71, true, true);
  EXPECT_EQ(config_changes(resolved({}), resolved({"training.stages.0.first_step=40"}), 40),
            Lines{"changed since the checkpoint: training.stages.0.first_step: nothing -> 40"});
}

TEST(ConfigChanges, AnyTextCanComeFromACheckpoint) {
  for (const std::string& before : {std::string("no configuration"), std::string(1000, '{'), std::string("a\0b", 3)}) {
    const Lines lines = config_changes(before, resolved({}), 0);
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_NE(lines[0].find("not known"), std::string::npos);
  }
}

}  // namespace
}  // namespace ropewalk

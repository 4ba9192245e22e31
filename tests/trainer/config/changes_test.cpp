#include "trainer/config/changes.h"

#include <gtest/gtest.h>

#include "tests/trainer/config/config_text.h"

namespace ropewalk {
namespace {

using Lines = std::vector<std::string>;

std::string resolved(std::initializer_list<std::string> overrides) { return config_with(overrides).resolved_text; }

TEST(ConfigChanges, NothingChangedIsNothingSaid) { EXPECT_EQ(config_changes(resolved({}), resolved({})), Lines()); }

TEST(ConfigChanges, NamesEachFieldWithBothValues) {
  EXPECT_EQ(config_changes(resolved({"training.learning_rate=0.25"}), resolved({"training.learning_rate=0.5"})),
            Lines{"changed since the checkpoint: training.learning_rate: 0.25 -> 0.5"});
}

TEST(ConfigChanges, WarnsOfWhatChangesTheModelOrTheSamples) {
  const Lines lines = config_changes(resolved({"data.seed=1", "model.norm_epsilon=1e-5", "model.pattern.0.window=8"}),
                                     resolved({"data.seed=2", "model.norm_epsilon=1e-6", "model.pattern.0.window=16"}));
  EXPECT_EQ(lines, (Lines{"warning: changed since the checkpoint: data.seed: 1 -> 2",
                          "warning: changed since the checkpoint: model.norm_epsilon: 1e-05 -> 1e-06",
                          "warning: changed since the checkpoint: model.pattern.0.window: 8 -> 16"}));
}

TEST(ConfigChanges, LeavesOutWhereAndHowOftenARunWrites) {
  EXPECT_EQ(config_changes(resolved({"output.log_interval=1", "checkpoint.keep=1"}),
                           resolved({"output.log_interval=2", "checkpoint.keep=2"})),
            Lines());
}

TEST(ConfigChanges, AnyTextCanComeFromACheckpoint) {
  for (const std::string& before : {std::string("no configuration"), std::string(1000, '{'), std::string("a\0b", 3)}) {
    const Lines lines = config_changes(before, resolved({}));
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_NE(lines[0].find("not known"), std::string::npos);
  }
}

}  // namespace
}  // namespace ropewalk

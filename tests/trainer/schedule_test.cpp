#include "trainer/schedule.h"

#include <gtest/gtest.h>

namespace ropewalk {
namespace {

TrainingConfig training() {
  TrainingConfig t;
  t.steps = 100;
  t.warmup_steps = 10;
  t.learning_rate = 1.0;
  t.minimum_rate = 0.1;
  return t;
}

TEST(Schedule, WarmsUpInAStraightLine) {
  EXPECT_DOUBLE_EQ(learning_rate_at(training(), 0), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate_at(training(), 4), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate_at(training(), 9), 1.0);
}

TEST(Schedule, CosineFallsToTheMinimumAfterTheLastStep) {
  const TrainingConfig t = training();
  EXPECT_DOUBLE_EQ(learning_rate_at(t, 10), 1.0);
  EXPECT_NEAR(learning_rate_at(t, 55), 0.55, 1e-15);  // half of the 90 steps of decay
  EXPECT_DOUBLE_EQ(learning_rate_at(t, 100), 0.1);
  for (int64_t step = 10; step < 99; ++step) EXPECT_GT(learning_rate_at(t, step), learning_rate_at(t, step + 1));
}

TEST(Schedule, WarmupStableDecayHoldsThenFalls) {
  TrainingConfig t = training();
  t.schedule = TrainingConfig::Schedule::kWarmupStableDecay;
  t.decay_steps = 20;
  EXPECT_DOUBLE_EQ(learning_rate_at(t, 10), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate_at(t, 80), 1.0);
  EXPECT_NEAR(learning_rate_at(t, 90), 0.55, 1e-15);
  EXPECT_NEAR(learning_rate_at(t, 99), 0.145, 1e-15);
}

TEST(Schedule, ConstantStaysAndNothingDividesByZero) {
  TrainingConfig t = training();
  t.schedule = TrainingConfig::Schedule::kConstant;
  EXPECT_DOUBLE_EQ(learning_rate_at(t, 99), 1.0);
  t.schedule = TrainingConfig::Schedule::kWarmupStableDecay;  // decay_steps 0
  EXPECT_DOUBLE_EQ(learning_rate_at(t, 99), 1.0);
  t.schedule = TrainingConfig::Schedule::kCosine;
  t.warmup_steps = t.steps;
  EXPECT_DOUBLE_EQ(learning_rate_at(t, 99), 1.0);
  t.warmup_steps = 0;
  t.steps = 1;
  t.minimum_rate = 0;
  EXPECT_DOUBLE_EQ(learning_rate_at(t, 0), 1.0);  // a run of one step still trains
}

}  // namespace
}  // namespace ropewalk

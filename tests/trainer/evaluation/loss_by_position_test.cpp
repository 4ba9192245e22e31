#include "trainer/evaluation/loss_by_position.h"

#include <gtest/gtest.h>

namespace ropewalk {
namespace {

TEST(LossByPosition, AddsAndAverages) {
  LossByPosition total;
  EXPECT_EQ(total.mean(), std::nullopt);
  total += {{3.0, 0.0}, {2, 0}};
  total += {{1.0, 8.0}, {2, 4}};
  EXPECT_EQ(total.means(), (std::vector<std::optional<double>>{1.0, 2.0}));
  EXPECT_EQ(total.mean(), 12.0 / 8);
}

TEST(LossByPosition, ARangeWithoutTargetsHasNoMean) {
  const LossByPosition total{{0.0, 4.0}, {0, 2}};
  EXPECT_EQ(total.means(), (std::vector<std::optional<double>>{std::nullopt, 2.0}));
}

}  // namespace
}  // namespace ropewalk

#include "kernels/positions.h"

#include <gtest/gtest.h>

namespace ropewalk {
namespace {

TEST(Positions, OfOneRun) {
  const Positions x = 7;
  for (int64_t row = 0; row < 5; ++row) {
    EXPECT_EQ(x.of(row), 7 + row);
    EXPECT_EQ(x.first_row_from(7 + row), row);
    EXPECT_EQ(x.from(2).of(row), 9 + row);
  }
  EXPECT_EQ(x.first_row_from(4), -3);
}

// Against the list of all positions.
TEST(Positions, OfTwoRuns) {
  for (const int64_t second : {0, 1, 3, 6})
    for (const int64_t gap : {0, 1, 5}) {
      const Positions x(10, second, gap);
      for (int64_t row = 0; row < 6; ++row) {
        EXPECT_EQ(x.of(row), 10 + row + (row < second ? 0 : gap));
        for (int64_t from = 0; from <= row; ++from) EXPECT_EQ(x.from(from).of(row - from), x.of(row));
      }
      for (int64_t position = 10; position <= x.of(5); ++position) {
        int64_t first = 0;
        while (x.of(first) < position) ++first;
        EXPECT_EQ(x.first_row_from(position), first)
            << "second " << second << ", gap " << gap << ", position " << position;
      }
    }
}

TEST(Positions, InOtherIntegers) {
  using Narrow = BasicPositions<int>;
  const Positions two(10, 4, 3), there_and_back = Positions(Narrow(two));
  EXPECT_EQ(there_and_back.of(5), two.of(5));
  EXPECT_EQ(Narrow(Positions(7)).second, Narrow::kNoSecond);
  EXPECT_EQ(Positions(Narrow(7)).of(int64_t{1} << 30), (int64_t{1} << 30) + 7);
}

static_assert(Positions(3).first_row_from(5) == 2, "device code shares it with the host");

}  // namespace
}  // namespace ropewalk

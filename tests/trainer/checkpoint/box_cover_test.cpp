// Compares find_cover_defect() with counting every element.
#include "trainer/checkpoint/box_cover.h"

#include <gtest/gtest.h>

#include <random>

namespace ropewalk {
namespace {

TEST(BoxCover, Intersection) {
  EXPECT_EQ(intersection({0, 4, 0, 4}, {2, 6, 1, 3}), (Box{2, 4, 1, 3}));
  EXPECT_EQ(intersection({0, 4, 0, 4}, {4, 6, 0, 4}).elements(), 0);
  EXPECT_EQ(intersection({0, 4, 0, 4}, {9, 12, 7, 9}).elements(), 0);
  EXPECT_EQ(whole_box({3, 5}), (Box{0, 3, 0, 5}));
  EXPECT_EQ(whole_box({5}), (Box{0, 1, 0, 5}));
}

TEST(BoxCover, NamesTheMissingOrDoubledRange) {
  const Box whole{0, 4, 0, 6};
  EXPECT_FALSE(find_cover_defect(whole, std::vector<Box>{{0, 2, 0, 6}, {2, 4, 0, 3}, {2, 4, 3, 6}}));
  const auto missing = find_cover_defect(whole, std::vector<Box>{{0, 2, 0, 6}, {2, 4, 0, 3}, {2, 4, 4, 6}});
  ASSERT_TRUE(missing && missing->missing);
  EXPECT_EQ(missing->range, (Box{2, 4, 3, 4}));
  const auto twice = find_cover_defect(whole, std::vector<Box>{{0, 2, 0, 6}, {1, 4, 0, 6}});
  ASSERT_TRUE(twice && !twice->missing);
  EXPECT_EQ(twice->range, (Box{1, 2, 0, 6}));
  EXPECT_EQ(find_cover_defect(whole, {})->range, whole);
  EXPECT_FALSE(find_cover_defect({0, 0, 0, 6}, {}));
}

// Cuts the box repeatedly, at random places.
void cut(const Box& box, std::mt19937& random, std::vector<Box>& out) {
  if (box.elements() <= 1 || random() % 4 == 0) return out.push_back(box);
  Box first = box, second = box;
  if (box.columns() == 1 || (box.rows() > 1 && random() % 2)) {
    first.row_end = second.row_begin =
        box.row_begin + 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(box.rows() - 1));
  } else {
    first.column_end = second.column_begin =
        box.column_begin + 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(box.columns() - 1));
  }
  cut(first, random, out);
  cut(second, random, out);
}

TEST(BoxCover, AgreesWithCounting) {
  std::mt19937 random(7);
  int whole_ones = 0, broken_ones = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    const Box whole{0, 1 + static_cast<int64_t>(random() % 6), 0, 1 + static_cast<int64_t>(random() % 6)};
    std::vector<Box> parts;
    cut(whole, random, parts);
    std::shuffle(parts.begin(), parts.end(), random);
    if (random() % 3 == 0) parts.pop_back();
    if (random() % 3 == 0)
      parts.push_back({0, 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(whole.rows())), 0, 1});
    const auto times = [&](int64_t row, int64_t column) {
      return std::count_if(parts.begin(), parts.end(), [&](const Box& p) {
        return contains(p, {row, row + 1, column, column + 1});
      });
    };
    bool once = true;
    for (int64_t r = 0; r < whole.rows(); ++r) {
      for (int64_t c = 0; c < whole.columns(); ++c) once = once && times(r, c) == 1;
    }
    const auto defect = find_cover_defect(whole, parts);
    ASSERT_EQ(!defect, once);
    (once ? whole_ones : broken_ones) += 1;
    if (!defect) continue;
    ASSERT_GT(defect->range.elements(), 0);
    for (int64_t r = defect->range.row_begin; r < defect->range.row_end; ++r) {
      for (int64_t c = defect->range.column_begin; c < defect->range.column_end; ++c) {
        ASSERT_EQ(times(r, c) == 0, defect->missing);
        ASSERT_NE(times(r, c), 1);
      }
    }
  }
  EXPECT_GT(whole_ones, 500);
  EXPECT_GT(broken_ones, 500);
}

}  // namespace
}  // namespace ropewalk

#include "kernels/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/bfloat16.h"
#include "tests/kernels/values.h"

namespace ropewalk {
namespace {

TEST(Shape, CountsElementsAndSpeaks) {
  EXPECT_EQ(Shape({2, 3, 4}).elements(), 24);
  EXPECT_EQ(Shape({5, 0}).elements(), 0);
  EXPECT_EQ(Shape().elements(), 0);
  EXPECT_EQ(Shape({2, 16}).text(), "[2, 16]");
  EXPECT_NE(Shape({2, 3}), Shape({3, 2}));
  EXPECT_NE(Shape({6}), Shape({6, 1}));
  EXPECT_THROW(Shape({1, -1}), std::logic_error);
  EXPECT_THROW(Shape({1, 1, 1, 1, 1}), std::logic_error);
}

TEST(Tensor, SlicesAndReshapesSeeTheSameMemory) {
  std::vector<float> values(24);
  std::iota(values.begin(), values.end(), 0.0f);
  for (const Shape& shape : {Shape{4, 6}, Shape{4, 3, 2}, Shape{4, 1, 2, 3}}) {
    const Tensor slice = tensor_of(values, shape).slice(1, 3);
    EXPECT_EQ(slice.rows(), 2);
    EXPECT_EQ(slice.elements(), 12);
    EXPECT_EQ(slice.data<float>()[0], 6);
    EXPECT_EQ(slice.bytes(), 48);
  }
  const Tensor x = tensor_of(values, {24});
  EXPECT_EQ(x.slice(24, 24).elements(), 0);
  EXPECT_EQ(x.reshape({6, 4}).slice(5, 6).data<float>()[3], 23);
  EXPECT_EQ(x.reshape({2, 12}).flat().shape(), Shape({24}));
  EXPECT_THROW(x.slice(5, 4), std::logic_error);
  EXPECT_THROW(x.slice(0, 25), std::logic_error);
  EXPECT_THROW(x.reshape({5, 5}), std::logic_error);
  EXPECT_THROW(x.data<double>(), std::logic_error);
}

TEST(Tensor, OfNoRowsCanBeSliced) {
  const Tensor x(nullptr, DType::kF32, Device{}, {0, 7});
  EXPECT_FALSE(x.empty());
  EXPECT_EQ(x.slice(0, 0).shape(), Shape({0, 7}));
  EXPECT_TRUE(Tensor().empty());
}

TEST(BFloat16, RoundsToNearestEven) {
  const auto rounded = [](float x) { return static_cast<float>(BFloat16(x)); };
  const float ulp = 0x1p-7f;  // between 1 and 2
  EXPECT_EQ(rounded(1 + ulp), 1 + ulp);
  EXPECT_EQ(rounded(1 + 0.49f * ulp), 1);
  EXPECT_EQ(rounded(1 + 0.51f * ulp), 1 + ulp);
  EXPECT_EQ(rounded(1 + 0.5f * ulp), 1) << "a tie goes to the even one";
  EXPECT_EQ(rounded(1 + 1.5f * ulp), 1 + 2 * ulp) << "a tie goes to the even one";
  EXPECT_EQ(rounded(-3.0f), -3);
  EXPECT_EQ(rounded(std::numeric_limits<float>::max()), std::numeric_limits<float>::infinity());
  EXPECT_EQ(rounded(-std::numeric_limits<float>::infinity()), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(rounded(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_TRUE(std::isnan(rounded(std::bit_cast<float>(0x7fffffffu))));
}

}  // namespace
}  // namespace ropewalk

// Elementwise operations and sums, on all host backends and element types. The expected values are exact.
#include <gtest/gtest.h>

#include <limits>

#include "kernels/bfloat16.h"
#include "kernels/make_kernels.h"
#include "tests/kernels/backends.h"
#include "tests/kernels/values.h"

namespace ropewalk {
namespace {

class Elementwise : public testing::TestWithParam<BackendKind> {
 protected:
  std::unique_ptr<Kernels> kernels = make_kernels(GetParam());

  // The whole numbers -18 .. 18, which are exact in all types.
  template <typename T>
  std::vector<T> numbers() {
    std::vector<T> out;
    for (int i = -18; i <= 18; ++i) out.push_back(T(static_cast<float>(i)));
    return out;
  }

  template <typename T>
  void check_all() {
    std::vector<T> a = numbers<T>(), b = numbers<T>(), y(37);
    const Tensor ta = tensor_of(a, {37}), tb = tensor_of(b, {37}), ty = tensor_of(y, {37});
    const auto number = [](T x) { return static_cast<float>(x); };
    kernels->add(ta, tb, ty);
    for (size_t i = 0; i < 37; ++i) EXPECT_EQ(number(y[i]), 2 * number(a[i]));
    kernels->add(ty, ta, ty);  // in place
    for (size_t i = 0; i < 37; ++i) EXPECT_EQ(number(y[i]), 3 * number(a[i]));
    kernels->copy(ta, ty);
    for (size_t i = 0; i < 37; ++i) EXPECT_EQ(number(y[i]), number(a[i]));
    EXPECT_EQ(kernels->sum(ta.slice(1, 37)), 18);
    EXPECT_EQ(kernels->sum_of_squares(ta), 18 * 19 * 37 / 3);
    EXPECT_EQ(kernels->first_not_finite(ta), std::nullopt);
    for (size_t bad : {36, 35, 20, 3}) {
      a[bad] = T(bad % 2 ? std::numeric_limits<float>::quiet_NaN() : -std::numeric_limits<float>::infinity());
      EXPECT_EQ(kernels->first_not_finite(ta), static_cast<int64_t>(bad));
    }
    kernels->fill(ta, 2.5);
    for (T x : a) EXPECT_EQ(number(x), 2.5f);
    const Tensor none = ta.slice(0, 0);
    kernels->add(none, none, none);
    EXPECT_EQ(kernels->sum(none), 0);
    EXPECT_EQ(kernels->first_not_finite(none), std::nullopt);
  }

  template <typename From, typename To>
  void check_cast() {
    std::vector<From> from = numbers<From>();
    from.push_back(From(1 / 3.0f));
    std::vector<To> to(38);
    kernels->cast(tensor_of(from, {38}), tensor_of(to, {38}));
    for (size_t i = 0; i < 37; ++i) EXPECT_EQ(static_cast<float>(to[i]), static_cast<float>(from[i]));
    const double third =
        sizeof(From) == 8 ? static_cast<double>(1 / 3.0f) : static_cast<double>(static_cast<float>(from[37]));
    EXPECT_EQ(static_cast<float>(to[37]), static_cast<float>(To(static_cast<float>(third))));
  }
};

TEST_P(Elementwise, ComputesInEveryType) {
  check_all<float>();
  check_all<double>();
  check_all<BFloat16>();
}

TEST_P(Elementwise, CastsBetweenAllTypes) {
  check_cast<float, double>();
  check_cast<float, BFloat16>();
  check_cast<double, float>();
  check_cast<double, BFloat16>();
  check_cast<BFloat16, float>();
  check_cast<BFloat16, double>();
}

TEST_P(Elementwise, SumsInFp64) {
  // A sum 2^24 + 1 + ... + 1 in fp32 loses every 1.
  std::vector<float> x(1001, 1);
  x[0] = 0x1p24f;
  EXPECT_EQ(kernels->sum(tensor_of(x, {1001})), 0x1p24 + 1000);
  EXPECT_EQ(kernels->sum_of_squares(tensor_of(x, {1001})), 0x1p48 + 1000);
}

TEST_P(Elementwise, CopiesToAndFromTheDevice) {
  const std::vector<int32_t> host = {1, 2, 3};
  std::vector<int32_t> back(3);
  const auto buffer = kernels->allocate(12);
  const Tensor x(buffer->data(), DType::kI32, kernels->device(), {3});
  kernels->upload(host.data(), x);
  kernels->download(x, back.data());
  kernels->synchronize();
  EXPECT_EQ(back, host);
  kernels->upload(nullptr, x.slice(0, 0));
}

INSTANTIATE_TEST_SUITE_P(Backends, Elementwise, host_backends(), backend_name);

}  // namespace
}  // namespace ropewalk

#include "tests/kernels/mixed_precision/suite.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/bfloat16.h"
#include "kernels/make_kernels.h"
#include "tests/kernels/values.h"

namespace ropewalk {
namespace {

constexpr double kRounding = 0x1p-24;  // half an ulp of fp32

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

double largest_of(const std::vector<double>& values) {
  double largest = 0;
  for (double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// The largest difference relative to the largest entry; entries that are the same infinity, or both NaN, agree.
double error_of(const std::vector<double>& actual, const std::vector<double>& exact) {
  double largest = 0, worst = 0;
  for (double value : exact)
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < exact.size(); ++i) {
    if (same(actual[i], exact[i])) continue;
    const double error = std::abs(actual[i] - exact[i]) / largest;
    worst = std::isfinite(error) ? std::max(worst, error) : INFINITY;
  }
  return worst;
}

}  // namespace

Tensor Operands::allocate(DType dtype, Shape shape) {
  buffers_.push_back(kernels_.allocate(shape.elements() * size_of(dtype)));
  return Tensor(buffers_.back()->data(), dtype, kernels_.device(), shape);
}

Tensor Operands::given(const std::string& name, Shape shape, const std::vector<double>& values, Kind kind) {
  const DType dtype = kind == Kind::kCompute ? kernels_.dtype() : accumulator_of(kernels_.dtype());
  const Tensor wide = allocate(DType::kF64, shape), x = allocate(dtype, shape);
  kernels_.upload(values.data(), wide);
  kernels_.cast(wide, x);
  if (!name.empty()) named_[name] = x;
  return x;
}

Tensor Operands::normal(const std::string& name, Shape shape, Kind kind, double scale) {
  std::vector<double> values = normal_values(shape.elements(), name);
  for (double& value : values) value = static_cast<float>(BFloat16(static_cast<float>(scale * value)));
  return given(name, shape, values, kind);
}

Tensor Operands::filled(const std::string& name, Shape shape, double value) {
  return given(name, shape, std::vector<double>(static_cast<size_t>(shape.elements()), value), Kind::kAccumulator);
}

Tensor Operands::poison(const std::string& name, Shape shape, Kind kind) {
  return given(name, shape,
               std::vector<double>(static_cast<size_t>(shape.elements()), std::numeric_limits<double>::quiet_NaN()),
               kind);
}

Tensor Operands::rounded(const std::string& name) {
  const Tensor& from = named_.at(name);
  const Tensor to = allocate(kernels_.dtype(), from.shape());
  kernels_.cast(from, to);
  return to;
}

Tensor Operands::integers(Shape shape, const std::vector<int32_t>& values) {
  const Tensor x = allocate(DType::kI32, shape);
  kernels_.upload(values.data(), x);
  return x;
}

std::vector<double> Operands::values(const std::string& name) const {
  const Tensor& x = named_.at(name);
  const auto buffer = kernels_.allocate(x.elements() * size_of(DType::kF64));
  const Tensor wide(buffer->data(), DType::kF64, kernels_.device(), x.shape());
  kernels_.cast(x, wide);
  std::vector<double> values(static_cast<size_t>(x.elements()));
  kernels_.download(wide, values.data());
  return values;
}

void MixedPrecisionSuite::SetUp() {
  const std::string why_not = why_not_under_test(form());
  if (!why_not.empty()) GTEST_SKIP() << why_not;
  tested = make_under_test(form());
  EXPECT_TRUE(tested->deterministic());
}

void MixedPrecisionSuite::check(const Call& call, const std::vector<std::string>& results) {
  const auto run = [&](Kernels& kernels) {
    Operands operands(kernels);
    call(kernels, operands);
    std::map<std::string, std::vector<double>> values;
    for (const std::string& name : results) values[name] = operands.values(name);
    return values;
  };
  auto exact = run(*make_kernels(BackendKind::kReferenceF64)), plain = run(*make_kernels(BackendKind::kReferenceBF16));
  auto fast = run(*tested), again = run(*tested);
  for (const std::string& name : results) {
    ASSERT_GT(largest_of(exact[name]), 0) << name << " is all zeros";
    // The second term allows for fp32 sums in another order than the bf16 reference's, whose roundings may happen to
    // cancel: 32 roundings for sums of some hundred terms, doubled because tensor cores truncate (Fasi, Higham,
    // Mikaitis & Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ CS 2021).
    const double allowed = 2 * error_of(plain[name], exact[name]) + 64 * kRounding;
    ASSERT_TRUE(std::isfinite(allowed)) << name << ": the bf16 reference is not finite";
    EXPECT_LE(error_of(fast[name], exact[name]), allowed) << name;
    EXPECT_TRUE(!tested->deterministic() || std::equal(fast[name].begin(), fast[name].end(), again[name].begin(), same))
        << name << " has different bits in the second run";
  }
}

}  // namespace ropewalk

// Suites that run the cpu backend against the reference in fp64, once for every instruction set of this machine.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>

#include "kernels/make_kernels.h"
#include "tests/kernels/cpu/instruction_sets.h"
#include "tests/kernels/values.h"

namespace ropewalk {

inline constexpr double kRounding = 0x1p-24;  // half an ulp of fp32

// A tensor for both backends, in fp32 and fp64: inputs are the same numbers, outputs are compared.
class Twin {
 public:
  Twin(Shape shape, const std::vector<double>& values)
      : shape_(shape), exact_(values), fast_(values.begin(), values.end()) {}
  static Twin normal(Shape shape, std::string_view name) { return Twin(shape, normal_values(shape.elements(), name)); }
  static Twin filled(Shape shape, double value) {
    return Twin(shape, std::vector<double>(static_cast<size_t>(shape.elements()), value));
  }
  // For outputs that are set: no NaN may remain.
  static Twin poison(Shape shape) { return filled(shape, std::nan("")); }

  Tensor fast() { return tensor_of(fast_, shape_); }
  Tensor exact() { return tensor_of(exact_, shape_); }
  const std::vector<float>& fast_values() const { return fast_; }
  const std::vector<double>& exact_values() const { return exact_; }

  // The largest difference, relative to the largest entry; infinity if a difference is NaN.
  double error() const;

 private:
  Shape shape_;
  std::vector<double> exact_;
  std::vector<float> fast_;
};

// The error of a sum of n terms. Its roundings, each relative to the sum so far, form a random walk: two standard
// deviations, which bound the thousands of sums of a test, and four roundings for the use of the sum.
inline double sum_tolerance(int64_t n) { return (4 + 2 * std::sqrt(static_cast<double>(n))) * kRounding; }

// Whether an error is within its bound. After all tests, the largest error of each result is printed for each
// instruction set, with its bound and as a fraction of it.
testing::AssertionResult within(const std::string& result, double error, double bound);

// The parameter is the Highway target to which dispatch is restricted.
class CpuSuite : public testing::TestWithParam<int64_t> {
 protected:
  CpuSuite();
  ~CpuSuite() override;

  using View = std::function<Tensor(Twin&)>;
  // Runs the call on both backends, each with its view of the twins.
  void on_both(const std::function<void(Kernels&, const View&)>& call);

  std::unique_ptr<Kernels> cpu = make_kernels(BackendKind::kCpu);
  std::unique_ptr<Kernels> reference = make_kernels(BackendKind::kReferenceF64);
};

std::string instruction_set_name(const testing::TestParamInfo<int64_t>& test);

#define ROPEWALK_CPU_SUITE(Name) \
  INSTANTIATE_TEST_SUITE_P(InstructionSets, Name, testing::ValuesIn(instruction_sets()), instruction_set_name)

}  // namespace ropewalk

// Test suites that compare a backend in mixed precision (under_test.h) with the reference. The rule: its error against
// the fp64 reference is at most twice that of the bf16 reference.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tests/kernels/mixed_precision/under_test.h"

namespace ropewalk {

enum class Kind { kCompute, kAccumulator };

// The named tensors of a call on one backend. Random values depend only on the name, and are exact in bf16.
class Operands {
 public:
  explicit Operands(Kernels& kernels) : kernels_(kernels) {}

  Tensor normal(const std::string& name, Shape shape, Kind kind = Kind::kCompute, double scale = 1);
  Tensor given(const std::string& name, Shape shape, const std::vector<double>& values, Kind kind = Kind::kCompute);
  Tensor filled(const std::string& name, Shape shape, double value = 0);            // of accumulators
  Tensor poison(const std::string& name, Shape shape, Kind kind = Kind::kCompute);  // NaN: the call must overwrite it
  Tensor rounded(const std::string& name);  // a copy of its current values in the compute type
  Tensor integers(Shape shape, const std::vector<int32_t>& values);

  std::vector<double> values(const std::string& name) const;  // current values

 private:
  Tensor allocate(DType dtype, Shape shape);

  Kernels& kernels_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::map<std::string, Tensor> named_;
};

class MixedPrecisionSuite : public testing::Test {
 protected:
  void SetUp() override;
  virtual std::string form() const = 0;

  using Call = std::function<void(Kernels&, Operands&)>;
  // Runs the call on the reference in fp64 and in bf16 and on `tested`, and checks the named tensors by the rule. Runs
  // it twice on `tested`, and checks that a deterministic backend gives the same bits.
  void check(const Call& call, const std::vector<std::string>& results);

  std::unique_ptr<Kernels> tested;
};

// A suite that runs once for each form.
class FormSuite : public MixedPrecisionSuite, public testing::WithParamInterface<std::string> {
 protected:
  std::string form() const override { return GetParam(); }
};

// A suite that runs each case once for each form.
template <typename Case>
class CaseSuite : public MixedPrecisionSuite, public testing::WithParamInterface<std::tuple<std::string, Case>> {
 protected:
  std::string form() const override { return std::get<std::string>(this->GetParam()); }
  const Case& given() const { return std::get<Case>(this->GetParam()); }
};

inline std::string name_of_form(const testing::TestParamInfo<std::string>& test) { return test.param; }

}  // namespace ropewalk

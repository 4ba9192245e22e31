// Suites that run the cuda backend beside the reference, on an emulated device or on a real one. The rule: against fp64
// it may err at most twice as much as the plain version of the same precision, the reference in bf16.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/cuda/under_test.h"

namespace ropewalk {

enum class Kind { kCompute, kAccumulator };

// Named tensors of a call on one backend. Numbers are functions of the name, and bf16 holds them exactly.
class Operands {
 public:
  explicit Operands(Kernels& kernels) : kernels_(kernels) {}

  Tensor normal(const std::string& name, Shape shape, Kind kind = Kind::kCompute, double scale = 1);
  Tensor given(const std::string& name, Shape shape, const std::vector<double>& values, Kind kind = Kind::kCompute);
  Tensor filled(const std::string& name, Shape shape, double value = 0);            // accumulators
  Tensor poison(const std::string& name, Shape shape, Kind kind = Kind::kCompute);  // NaN: what must not be kept
  Tensor rounded(const std::string& name);  // a copy of what it is now, of the compute type
  Tensor integers(Shape shape, const std::vector<int32_t>& values);

  std::vector<double> values(const std::string& name) const;  // now

 private:
  Tensor allocate(DType dtype, Shape shape);

  Kernels& kernels_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::map<std::string, Tensor> named_;
};

class CudaSuite : public testing::Test {
 protected:
  void SetUp() override;
  virtual BackendOptions options() const { return {}; }  // of `cuda`

  using Call = std::function<void(Kernels&, Operands&)>;
  // Runs the call on the reference in fp64, on the reference in bf16 and on cuda, and judges the named tensors by the
  // rule. Twice on cuda, which gives the same bits where it says that it is deterministic.
  void check(const Call& call, const std::vector<std::string>& results);

  std::unique_ptr<Kernels> cuda;
};

}  // namespace ropewalk

// What a run tells about how its CPUs compute.
#include <hwy/targets.h>

#include <map>

#include "kernels/cpu/cpu_backend.h"
#include "tests/kernels/cpu/suite.h"

namespace ropewalk {
namespace {

class CpuArithmeticOf : public CpuSuite {};

TEST_P(CpuArithmeticOf, EachInstructionSetIsNamed) {
  const std::map<int64_t, std::string> names = {
      {HWY_SCALAR, "plain C++"}, {HWY_SSE4, "SSE4"}, {HWY_AVX2, "AVX2"}, {HWY_AVX3, "AVX-512"}};
  const std::string here = names.at(GetParam());
  EXPECT_EQ(cpu->arithmetic().text, "fp32 (" + here + ")");
  EXPECT_EQ(cpu->arithmetic().refused, "") << "fp32 has no use for tiles";
  EXPECT_EQ(CpuBackend(DType::kBF16, MatrixUnit::kVectors).arithmetic().text, "bf16 in fp32 vectors (" + here + ")");
  EXPECT_EQ(reference->arithmetic().text, "fp64");
}

ROPEWALK_CPU_SUITE(CpuArithmeticOf);

TEST(CpuArithmetic, NamesTheMatrixUnit) {
  const MatrixUnits& units = matrix_units();
  const auto text = [](MatrixUnit unit) { return CpuBackend(DType::kBF16, unit).arithmetic().text; };
  EXPECT_TRUE(!units.dot_products || text(MatrixUnit::kDotProducts) == "bf16 on AVX512-BF16");
  EXPECT_TRUE(!units.tiles || text(MatrixUnit::kTiles) == "bf16 on AMX");
  const std::string refused = CpuBackend(DType::kBF16).arithmetic().refused;
  EXPECT_EQ(refused, units.refusal.empty() ? "" : "AMX: " + units.refusal);
  if (!units.dot_products) GTEST_SKIP() << "this processor multiplies bf16 in fp32 vectors only";
}

}  // namespace
}  // namespace ropewalk

#include "tests/kernels/cpu_suite.h"

#include <hwy/highway.h>

#include <limits>

namespace ropewalk {

double Twin::error() const {
  double largest = 0, difference = 0;
  for (size_t i = 0; i < exact_.size(); ++i) {
    const double off = std::abs(static_cast<double>(fast_[i]) - exact_[i]);
    if (std::isnan(off)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, std::abs(exact_[i]));
    difference = std::max(difference, off);
  }
  return difference == 0 ? 0 : difference / largest;
}

CpuSuite::CpuSuite() {
  hwy::SetSupportedTargetsForTest(GetParam());
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

CpuSuite::~CpuSuite() {
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

void CpuSuite::on_both(const std::function<void(Kernels&, const View&)>& call) {
  call(*cpu, [](Twin& twin) { return twin.fast(); });
  call(*reference, [](Twin& twin) { return twin.exact(); });
}

// Those that kernels/CMakeLists.txt compiles and this machine has.
std::vector<int64_t> instruction_sets() {
  std::vector<int64_t> sets = {HWY_SCALAR};
  for (int64_t set : {HWY_SSE4, HWY_AVX2, HWY_AVX3})
    if (hwy::SupportedTargets() & set) sets.push_back(set);
  return sets;
}

std::string instruction_set_name(const testing::TestParamInfo<int64_t>& test) { return hwy::TargetName(test.param); }

}  // namespace ropewalk

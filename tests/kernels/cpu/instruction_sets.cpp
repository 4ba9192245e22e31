#include "tests/kernels/cpu/instruction_sets.h"

#include <hwy/highway.h>

namespace ropewalk {

std::vector<int64_t> instruction_sets() {
  std::vector<int64_t> sets = {HWY_SCALAR};
  for (int64_t set : {HWY_SSE4, HWY_AVX2, HWY_AVX3})
    if (hwy::SupportedTargets() & set) sets.push_back(set);
  return sets;
}

void use_instruction_set(int64_t set) {
  hwy::SetSupportedTargetsForTest(set);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace ropewalk

#include "kernels/cpu/instruction_set.h"

#include <string_view>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/instruction_set.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

const char* target() { return hwy::TargetName(HWY_TARGET); }

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(target);

// Highway's names, but for those that only Highway uses.
const char* instruction_set() {
  const char* const name = HWY_DYNAMIC_DISPATCH(target)();
  if (std::string_view(name).starts_with("AVX3")) return "AVX-512";
  if (std::string_view(name) == "EMU128" || std::string_view(name) == "SCALAR") return "plain C++";
  return name;
}

}  // namespace ropewalk
#endif

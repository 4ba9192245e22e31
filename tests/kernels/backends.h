// The host backends, for suites that run on each.
#pragma once

#include <gtest/gtest.h>

#include "kernels/kernels.h"

namespace ropewalk {

inline auto host_backends() {
  return testing::Values(Backend::kReferenceF64, Backend::kReferenceF32, Backend::kReferenceBF16, Backend::kCpu);
}

inline std::string backend_name(const testing::TestParamInfo<Backend>& test) {
  switch (test.param) {
    case Backend::kReferenceF64:
      return "reference_f64";
    case Backend::kReferenceF32:
      return "reference_f32";
    case Backend::kReferenceBF16:
      return "reference_bf16";
    case Backend::kCpu:
      return "cpu";
    case Backend::kCuda:
      return "cuda";
  }
  return "?";
}

}  // namespace ropewalk

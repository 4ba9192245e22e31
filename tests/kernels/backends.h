// The host backends, for suites that run on each of them.
#pragma once

#include <gtest/gtest.h>

#include "kernels/make_kernels.h"

namespace ropewalk {

inline auto host_backends() {
  return testing::Values(BackendKind::kReferenceF64, BackendKind::kReferenceF32, BackendKind::kReferenceBF16,
                         BackendKind::kCpu, BackendKind::kCpuBF16);
}

inline std::string name_of_backend(BackendKind backend) {
  switch (backend) {
    case BackendKind::kReferenceF64:
      return "reference_f64";
    case BackendKind::kReferenceF32:
      return "reference_f32";
    case BackendKind::kReferenceBF16:
      return "reference_bf16";
    case BackendKind::kCpu:
      return "cpu";
    case BackendKind::kCpuBF16:
      return "cpu_bf16";
    case BackendKind::kCuda:
      return "cuda";
  }
  return "?";
}

inline std::string backend_name(const testing::TestParamInfo<BackendKind>& test) { return name_of_backend(test.param); }

}  // namespace ropewalk

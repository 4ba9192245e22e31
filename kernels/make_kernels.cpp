// The one place that knows which backends this build has.
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/reference/bf16_kernels.h"
#include "kernels/reference/reference_kernels.h"

namespace ropewalk {

DType compute_type(Backend backend) {
  switch (backend) {
    case Backend::kReferenceF64:
      return DType::kF64;
    case Backend::kReferenceF32:
    case Backend::kCpu:
      return DType::kF32;
    case Backend::kReferenceBF16:
    case Backend::kCuda:
      return DType::kBF16;
  }
  CHECK(false, "backend {}", static_cast<int>(backend));
}

std::unique_ptr<Kernels> make_kernels(Backend backend, int) {
  switch (backend) {
    case Backend::kReferenceF64:
      return std::make_unique<ReferenceKernels<double>>();
    case Backend::kReferenceF32:
      return std::make_unique<ReferenceKernels<float>>();
    case Backend::kReferenceBF16:
      return std::make_unique<ReferenceBf16Kernels>();
    case Backend::kCpu:
      return std::make_unique<CpuKernels>();
    case Backend::kCuda:
      break;
  }
  throw ConfigurationError("this version has no CUDA backend; set parallel.device to CPU");
}

}  // namespace ropewalk

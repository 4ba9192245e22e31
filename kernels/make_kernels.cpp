// The one place that knows which backends there are.
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cuda_module.h"
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

BackendLimits limits_of(Backend backend) {
  if (backend != Backend::kCuda) return {};
  return {.head_sizes = {64, 128}, .most_grouped_heads = 32, .width_multiple = 8, .most_width = 16384};
}

std::unique_ptr<Kernels> make_kernels(Backend backend, const BackendOptions& options) {
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
      return cuda_function<std::unique_ptr<Kernels>(const BackendOptions&)>("ropewalk_make_cuda_kernels")(options);
  }
  CHECK(false, "backend {}", static_cast<int>(backend));
}

}  // namespace ropewalk

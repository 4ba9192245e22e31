// The one place that knows which backends this build has.
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/reference/bf16_kernels.h"
#include "kernels/reference/reference_kernels.h"

#ifdef ROPEWALK_HAS_CUDA
#include "kernels/cuda/cuda_kernels.h"
#endif

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
  if (backend == Backend::kCuda) return {{64, 128}, 32};
  return {{}, std::numeric_limits<int64_t>::max()};
}

std::unique_ptr<Kernels> make_kernels(Backend backend, [[maybe_unused]] int local_rank) {
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
#ifdef ROPEWALK_HAS_CUDA
      return std::make_unique<cuda::CudaKernels>(local_rank);
#else
      throw ConfigurationError(
          "this ropewalk was built without CUDA; build it where CMake finds nvcc (on the path, or "
          "-DCMAKE_CUDA_COMPILER=/path/to/nvcc), or set parallel.device to CPU");
#endif
  }
  CHECK(false, "backend {}", static_cast<int>(backend));
}

}  // namespace ropewalk

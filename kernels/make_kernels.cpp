// The one place that knows which backends this build has.
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/reference/reference_kernels.h"

namespace ropewalk {

std::unique_ptr<Kernels> make_kernels(Backend backend, int) {
  switch (backend) {
    case Backend::kReferenceF64:
      return std::make_unique<ReferenceKernels<double>>();
    case Backend::kReferenceF32:
      return std::make_unique<ReferenceKernels<float>>();
    case Backend::kCpu:
      return std::make_unique<CpuKernels>();
    case Backend::kCuda:
      break;
  }
  throw ConfigurationError("this version has no CUDA backend; set parallel.device to CPU");
}

}  // namespace ropewalk

// The cuda backend under test is that of the first device, where there is one.
#include <cuda_runtime_api.h>

#include "kernels/cuda/cuda_kernels.h"
#include "tests/kernels/cuda_suite.h"

namespace ropewalk {

std::unique_ptr<Kernels> make_cuda_under_test() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return nullptr;
  return std::make_unique<cuda::CudaKernels>(0);
}

}  // namespace ropewalk

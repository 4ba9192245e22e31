// The cuda backend under test is the emulated one.
#include "kernels/cuda/cuda_kernels.h"
#include "tests/kernels/cuda_suite.h"

namespace ropewalk {

std::unique_ptr<Kernels> make_cuda_under_test() { return std::make_unique<cuda_emulated::CudaKernels>(0); }

}  // namespace ropewalk

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/module_interface.h"

// Called before all else.
extern "C" const char* ropewalk_cuda_interface() { return ROPEWALK_MODULE_INTERFACE; }

// Called by make_kernels().
extern "C" std::unique_ptr<ropewalk::Kernels> ropewalk_make_cuda_kernels(const ropewalk::BackendOptions& options) {
  return std::make_unique<ROPEWALK_CUDA::CudaKernels>(options);
}

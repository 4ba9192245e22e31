#include "kernels/cuda/cuda_backend.h"
#include "kernels/module_interface.h"

// Called first, to check that the module fits the program.
extern "C" const char* ropewalk_cuda_interface() { return ROPEWALK_MODULE_INTERFACE; }

// Called by make_kernels().
extern "C" std::unique_ptr<ropewalk::Backend> ropewalk_make_cuda_backend(const ropewalk::BackendOptions& options) {
  return std::make_unique<ROPEWALK_CUDA::CudaBackend>(options);
}

#include "kernels/cuda/cuda_kernels.h"

// Called by make_kernels().
extern "C" std::unique_ptr<ropewalk::Kernels> ropewalk_make_cuda_kernels(int local_rank) {
  return std::make_unique<ROPEWALK_CUDA::CudaKernels>(local_rank);
}

// CUDA's errors, as ours.
#pragma once

#include <cuda_runtime.h>

namespace ropewalk::cuda {

// Throws DeviceError: what failed, on which device, and CUDA's own words.
void check(cudaError_t error, const char* what);

}  // namespace ropewalk::cuda

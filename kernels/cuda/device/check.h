// Turns CUDA's errors into exceptions.
#pragma once

#include <cuda_runtime.h>

namespace ropewalk::cuda {

// Throws DeviceError if `error` is one. The message names the device, what was attempted, and CUDA's description.
void check(cudaError_t error, const char* what);

}  // namespace ropewalk::cuda

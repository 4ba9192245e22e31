#include "kernels/cuda/device/image.h"

#include "kernels/cuda/device/check.h"
#include "kernels/cuda/hopper/barrier.h"

namespace ropewalk::cuda {
namespace {

__global__ void nothing_kernel() {}
__device__ const bool of_image = kHasHopperInstructions;

}  // namespace

bool has_image() {
  cudaFuncAttributes attributes{};
  const cudaError_t error = cudaFuncGetAttributes(&attributes, nothing_kernel);
  if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction) {
    cudaGetLastError();
    return false;
  }
  check(error, "looking up its kernels");
  return true;
}

bool has_hopper_instructions() {
  bool has = false;
  check(cudaMemcpyFromSymbol(&has, of_image, sizeof(has)), "reading what its kernels are built for");
  return has;
}

}  // namespace ropewalk::cuda

#include "kernels/cuda/device/image.h"

#include "kernels/cuda/device/check.h"

namespace ropewalk::cuda {
namespace {

__global__ void nothing_kernel() {}

}  // namespace

bool has_image() {
  cudaFuncAttributes attributes{};
  const cudaError_t error = cudaFuncGetAttributes(&attributes, nothing_kernel);
  if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction) {
    cudaGetLastError();
    return false;
  }
  check(error, "its kernels");
  return true;
}

}  // namespace ropewalk::cuda

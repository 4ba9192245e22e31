#include "kernels/cuda/runtime.h"

#include <algorithm>

#include "kernels/cuda/device/check.h"
#include "kernels/error.h"

namespace ropewalk::cuda {
namespace {

constexpr int kOldest = 8;  // compute capability: the first with products of bf16

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

}  // namespace

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // or a later call would report it again
  int device = -1;
  cudaGetDevice(&device);
  throw DeviceError(
      fmt::format("CUDA device {}: {}: {} ({})", device, what, cudaGetErrorString(error), cudaGetErrorName(error)));
}

Runtime::Runtime(int index) : index_(index) {
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount(&count);
  if (found == cudaErrorInsufficientDriver) {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    throw DeviceError(
        fmt::format("the NVIDIA driver of this host serves CUDA up to {}, and this program was built with CUDA {}; "
                    "update the driver, "
                    "or build with an older CUDA",
                    driver ? version_text(driver) : "none", version_text(runtime)));
  }
  if (found == cudaErrorNoDevice || count == 0)
    throw DeviceError("this host has no CUDA device, or CUDA_VISIBLE_DEVICES hides it; set parallel.device to CPU");
  check(found, "looking for devices");
  if (index >= count)
    throw DeviceError(fmt::format(
        "CUDA device {} was asked for, and this host has {}; start no more ranks on a host than it has devices", index,
        count));
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "its properties");
  if (properties.major < kOldest)
    throw DeviceError(fmt::format("CUDA device {} is a {} of compute capability {}.{}; {}.0 and later multiply bf16",
                                  index, properties.name, properties.major, properties.minor, kOldest));
  check(cudaSetDevice(index), "to use it");
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream");
}

Runtime::~Runtime() {
  cudaSetDevice(index_);
  cudaStreamSynchronize(stream_);
  cudaFree(workspace_);
  cudaStreamDestroy(stream_);
}

Stream Runtime::stream() const {
  check(cudaSetDevice(index_), "to use it");
  return stream_;
}

Device Runtime::device() const { return {Device::Kind::kCuda, index_}; }

void* Runtime::allocate(int64_t bytes) {
  check(cudaSetDevice(index_), "to use it");
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, static_cast<size_t>(std::max<int64_t>(bytes, 1)));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, all = 0;
    cudaMemGetInfo(&free, &all);
    throw DeviceError(
        fmt::format("CUDA device {} has {:.2f} of {:.2f} GiB free, and {:.2f} GiB more were asked for; `ropewalk plan` "
                    "tells what a "
                    "configuration needs, and what takes less",
                    index_, static_cast<double>(free) / (1 << 30), static_cast<double>(all) / (1 << 30),
                    static_cast<double>(bytes) / (1 << 30)));
  }
  check(error, "an allocation");
  return memory;
}

void Runtime::release(void* memory) noexcept {
  cudaSetDevice(index_);
  cudaFree(memory);
}

void Runtime::to_device(const void* host, void* device, int64_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(device, host, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream()), "an upload");
  synchronize();
}

void Runtime::to_host(const void* device, void* host, int64_t bytes) {
  if (bytes > 0)
    check(cudaMemcpyAsync(host, device, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream()), "a download");
  synchronize();
}

void Runtime::copy(const void* from, void* to, int64_t bytes) {
  if (bytes > 0)
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream()), "a copy");
}

void Runtime::synchronize() { check(cudaStreamSynchronize(stream()), "work given to it earlier"); }

void* Runtime::workspace(int64_t bytes) {
  if (bytes > workspace_bytes_) {
    synchronize();
    cudaFree(workspace_);
    workspace_ = nullptr;
    workspace_bytes_ = 0;
    workspace_ = allocate(bytes);
    workspace_bytes_ = bytes;
  }
  return workspace_;
}

}  // namespace ropewalk::cuda

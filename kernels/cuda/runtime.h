// One device and its stream of work, behind which CUDA's runtime library (device/runtime.cu) or the imitation
// (emulation/runtime.cpp) is at work.
#pragma once

#include <cstdint>

#include "kernels/cuda/platform.h"
#include "kernels/device.h"

namespace ROPEWALK_CUDA {

#ifdef ROPEWALK_CUDA_EMULATED
using Stream = int;
#else
using Stream = cudaStream_t;
#endif

class Runtime {
 public:
  // Throws DeviceError: no such device, one older than compute capability 8.0 (bf16), a driver older than the runtime.
  explicit Runtime(int index);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  Device device() const;  // where its memory is: the emulation's is the host's
  Stream stream() const;  // makes the device this thread's, so that what is launched goes to it

  void* allocate(int64_t bytes);  // throws DeviceError: what was asked, and what the device has
  void release(void* memory) noexcept;
  void to_device(const void* host, void* device, int64_t bytes);  // host may change when this returns
  void to_host(const void* device, void* host, int64_t bytes);    // after all earlier work
  void copy(const void* from, void* to, int64_t bytes);
  void synchronize();

  // At least so many bytes for the kernels of one operation; the next operation's may be the same ones.
  void* workspace(int64_t bytes);

 private:
  int index_;
  Stream stream_{};
  void* workspace_ = nullptr;
  int64_t workspace_bytes_ = 0;
};

}  // namespace ROPEWALK_CUDA

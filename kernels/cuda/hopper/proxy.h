// Makes threads' stores visible to the async proxy (TMA and wgmma). NVIDIA's PTX ISA, "Memory Consistency Model:
// Proxies".
#pragma once

#include "kernels/cuda/hopper/barrier.h"

namespace ROPEWALK_CUDA {

// Makes what this thread has stored in shared memory visible to asynchronous copies and products that are issued after
// the next barrier. They access memory through another proxy than the threads.
__device__ __forceinline__ void fence_shared_writes() {
#ifdef __CUDACC__
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#else
  simt::fence_shared_writes();
#endif
}

}  // namespace ROPEWALK_CUDA

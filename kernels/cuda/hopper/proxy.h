// What threads store and others than threads read. NVIDIA's PTX ISA, "Memory Consistency Model: Proxies".
#pragma once

#include "kernels/cuda/hopper/barrier.h"

namespace ROPEWALK_CUDA {

// What this thread has written into shared memory is seen by copies and products that are asked for after the next
// barrier. ("Proxies": they reach memory by another way.)
__device__ __forceinline__ void fence_shared_writes() {
#ifdef __CUDACC__
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#else
  simt::fence_shared_writes();
#endif
}

}  // namespace ROPEWALK_CUDA

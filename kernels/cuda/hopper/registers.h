// Moves registers from one warpgroup to another. NVIDIA's PTX ISA, "setmaxnreg".
#pragma once

#include "kernels/cuda/hopper/barrier.h"

namespace ROPEWALK_CUDA {

// Sets the number of registers of each thread of this warpgroup, 24 to 256 and a multiple of 8. All 128 threads call.
template <int n>
__device__ __forceinline__ void raise_registers() {
#ifdef __CUDACC__
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(n));
#else
  simt::change_registers(n, true);
#endif
}
template <int n>
__device__ __forceinline__ void lower_registers() {
#ifdef __CUDACC__
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(n));
#else
  simt::change_registers(n, false);
#endif
}

}  // namespace ROPEWALK_CUDA

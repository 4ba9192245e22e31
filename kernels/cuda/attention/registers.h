// What the compiler is kept from, where registers are short.
#pragma once

#include "kernels/cuda/elements.h"

namespace ROPEWALK_CUDA {

// x, worked out where this stands: what a loop does not change would be kept in a register all over the loop, and where
// there is none, in memory.
__device__ __forceinline__ int worked_out_here(int x) {
#ifdef __CUDACC__
  asm volatile("" : "+r"(x));
#endif
  return x;
}

// The same address, whose sum with an offset is left as it stands: one instruction.
__device__ __forceinline__ const Bf16* kept_whole(const Bf16* from) {
#ifdef __CUDACC__
  asm("" : "+l"(from));
#endif
  return from;
}

}  // namespace ROPEWALK_CUDA

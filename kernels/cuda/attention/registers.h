// Barriers against compiler optimizations that cost registers.
#pragma once

#include "kernels/cuda/elements.h"

namespace ROPEWALK_CUDA {

// Returns x, opaque to the compiler, which must compute it at this point. Otherwise it computes a loop-invariant x
// before the loop, and keeps it in a register throughout or spills it.
__device__ __forceinline__ int worked_out_here(int x) {
#ifdef __CUDACC__
  asm volatile("" : "+r"(x));
#endif
  return x;
}

// Returns the same address, opaque to the compiler, which then adds an offset to it in one instruction and does not
// reassociate the sum.
__device__ __forceinline__ const Bf16* kept_whole(const Bf16* from) {
#ifdef __CUDACC__
  asm("" : "+l"(from));
#endif
  return from;
}

}  // namespace ROPEWALK_CUDA

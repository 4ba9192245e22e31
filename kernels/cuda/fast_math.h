// Functions of one instruction, where their few last bits do not matter.
#pragma once

#include <cmath>

#include "kernels/cuda/platform.h"

namespace ROPEWALK_CUDA {

inline constexpr float kLog2e = 1.4426950408889634f;

// 2^x in one instruction: off by 2^-22 of it at most; 0 where it would be denormal. (PTX ISA, ex2.approx.ftz.f32)
__device__ __forceinline__ float fast_exp2(float x) {
#ifdef __CUDACC__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0 : y;
#endif
}
// 1 / x, off by a unit in the last place at most; 0 where it would be denormal. (PTX ISA, rcp.approx.ftz.f32)
__device__ __forceinline__ float fast_reciprocal(float x) {
#ifdef __CUDACC__
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  const float y = 1 / x;
  return std::fabs(y) < 0x1p-126f ? 0 : y;
#endif
}

// sin and cos of 2 pi x, |x| <= 1/2.
__device__ __forceinline__ void sincos_of_turns(float x, float* sine, float* cosine) {
#ifdef __CUDACC__
  sincospif(2 * x, sine, cosine);
#else
  constexpr double kTurn = 6.283185307179586;
  *sine = static_cast<float>(std::sin(kTurn * x));
  *cosine = static_cast<float>(std::cos(kTurn * x));
#endif
}

}  // namespace ROPEWALK_CUDA

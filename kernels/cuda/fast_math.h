// Functions of one instruction, where their few last bits do not matter.
#pragma once

#include <cmath>

#include "kernels/cuda/platform.h"

namespace ROPEWALK_CUDA {

inline constexpr float kLog2e = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

// 2^x by the device's one instruction for it (exp2f adds two, for results that are subnormal). What that means for the
// bounds: the PTX ISA promises a relative error of 2^-22, and a result is rounded to bf16, by up to 2^-9, or is a term
// of a row's sum. One below 2^-126 of its row's largest becomes 0: 2^40 of those are 2^-86 of the row's sum, whose last
// bit is 2^-23 of it. Arguments that are subnormal count as 0, which 2^x does not tell from them in fp32.
__device__ __forceinline__ float exp2_flushed(float x) {
#ifdef __CUDACC__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  const float y = exp2f(x);
  return y < 0x1p-126f ? 0 : y;
#endif
}

// 1 / x, likewise: off by a unit in the last place at most.
__device__ __forceinline__ float reciprocal_flushed(float x) {
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

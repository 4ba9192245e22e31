// Fast functions, for where the last few bits do not matter.
#pragma once

#include <cmath>

#include "kernels/cuda/platform.h"

namespace ROPEWALK_CUDA {

inline constexpr float kLog2e = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

// 2^x by a single instruction; exp2f takes two more, to handle subnormal results. The effect on error bounds is small:
//
// - The PTX ISA promises a relative error of 2^-22. The result is then rounded to bf16, with an error of up to 2^-9, or
//   becomes a term of a row's sum.
// - A term below 2^-126 of the row's largest term is flushed to 0. Even 2^40 such terms add up to at most 2^-86 of
//   the sum, far below its fp32 precision of 2^-23.
// - Subnormal arguments are taken as 0: in fp32, 2^x is 1 for both.
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

// 1 / x, with subnormal values flushed to 0 likewise, and an error of at most one unit in the last place.
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

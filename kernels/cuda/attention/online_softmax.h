// The softmax of rows whose scores arrive tile by tile (Milakov & Gimelshein, arXiv 1805.02867), in base 2: scores are
// multiplied by log2(e). They lie in registers as tensor cores leave them: a thread holds two adjacent columns of every
// 8, in each of two rows, 8 apart. Four threads share a row.
#pragma once

#include "kernels/cuda/block.h"
#include "kernels/cuda/fast_math.h"

namespace ROPEWALK_CUDA {

// The state of this thread's two rows. Exponentials are relative to the running maximum, so that the largest weight is
// exactly 1 and is not rounded in bf16. Following the maximum only when it has grown by a threshold would avoid most of
// the rescaling. But where one key outweighs the others, the error would be more than twice as large.
struct OnlineSoftmax {
  float largest[2] = {-INFINITY, -INFINITY};  // largest score so far
  float sum[2] = {};                          // of 2^(score - largest), over this thread's columns

  // Replaces products q k in `score` by 2^(scale * q k - largest), where scale > 0 includes the factor log2(e). Keys
  // that a row does not see must be -inf. Sets `shrink` to the factors by which the caller must multiply its outputs so
  // far; `sum` is rescaled here.
  template <int kParts>
  __device__ __forceinline__ void take(float (&score)[kParts][4], float scale, float (&shrink)[2]) {
    float base[2];
    ROPEWALK_UNROLL
    for (int i = 0; i < 2; ++i) {
      float now = -INFINITY;
      ROPEWALK_UNROLL
      for (int part = 0; part < kParts; ++part) now = fmaxf(now, fmaxf(score[part][2 * i], score[part][2 * i + 1]));
      for (int mask = 1; mask <= 2; mask *= 2) now = fmaxf(now, __shfl_xor_sync(~0u, now, mask));
      now = fmaxf(largest[i], now * scale);
      base[i] = now == -INFINITY ? 0 : now;
      shrink[i] = exp2_flushed(largest[i] - base[i]);
      largest[i] = now;
      sum[i] *= shrink[i];
    }
    ROPEWALK_UNROLL
    for (int part = 0; part < kParts; ++part)
      for (int i = 0; i < 4; ++i) {
        score[part][i] = exp2_flushed(fmaf(score[part][i], scale, -base[i / 2]));
        sum[i / 2] += score[part][i];
      }
  }

  // The sum of row i over its four threads.
  __device__ __forceinline__ float whole_sum(int i) const {
    float whole = sum[i];
    for (int mask = 1; mask <= 2; mask *= 2) whole += __shfl_xor_sync(~0u, whole, mask);
    return whole;
  }
};

template <int kParts>
__device__ __forceinline__ void shrink_rows(float (&out)[kParts][4], const float (&shrink)[2]) {
  ROPEWALK_UNROLL
  for (int part = 0; part < kParts; ++part)
    for (int i = 0; i < 4; ++i) out[part][i] *= shrink[i / 2];
}

}  // namespace ROPEWALK_CUDA

// The softmax of rows whose scores come in tiles (Milakov & Gimelshein, arXiv 1805.02867), in units of log 2. Scores
// lie in registers as tensor cores leave them: of each 8 columns a thread has two neighbours in each of two rows, 8
// apart, and four threads have a row.
#pragma once

#include "kernels/cuda/block.h"
#include "kernels/cuda/fast_math.h"

namespace ROPEWALK_CUDA {

// Of this thread's two rows. The largest weight is 1, which is not rounded: exponentials relative to anything but the
// largest score would spare most of the shrinking, but err more than twice as much where one key outweighs the others.
struct OnlineSoftmax {
  float largest[2] = {-INFINITY, -INFINITY};  // score so far
  float sum[2] = {};                          // of exponentials relative to it, this thread's

  // Products q k, of which `scale` > 0 makes scores, become exponentials; -inf is what a row does not see. What was
  // summed so far must shrink by `shrink` to fit.
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

  // Of all four threads of row i.
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

// The softmax of rows whose scores come in tiles (Milakov & Gimelshein, arXiv 1805.02867), in units of log 2. Scores
// lie in registers as tensor cores leave them: of each 8 columns a thread has two neighbours in each of two rows, 8
// apart, and four threads have a row.
#pragma once

#include "kernels/cuda/block.h"

namespace ROPEWALK_CUDA {

inline constexpr float kLog2e = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

// Of this thread's two rows.
struct OnlineSoftmax {
  float largest[2] = {-INFINITY, -INFINITY};  // score so far
  float sum[2] = {};                          // of exponentials relative to it, this thread's

  // Scores, whose largest here are `tile_largest`, become exponentials; `out`, the sums so far, shrinks to fit.
  template <int kParts, int kOutParts>
  __device__ __forceinline__ void take(float (&score)[kParts][4], float (&tile_largest)[2],
                                       float (&out)[kOutParts][4]) {
    float base[2];
    for (int i = 0; i < 2; ++i) {
      for (int mask = 1; mask <= 2; mask *= 2)
        tile_largest[i] = fmaxf(tile_largest[i], __shfl_xor_sync(~0u, tile_largest[i], mask));
      const float now = fmaxf(largest[i], tile_largest[i]);
      base[i] = now == -INFINITY ? 0 : now;
      const float shrink = exp2f(largest[i] - base[i]);
      largest[i] = now;
      sum[i] *= shrink;
      for (auto& part : out) {
        part[2 * i] *= shrink;
        part[2 * i + 1] *= shrink;
      }
    }
    for (auto& part : score)
      for (int i = 0; i < 4; ++i) {
        part[i] = exp2f(part[i] - base[i / 2]);
        sum[i / 2] += part[i];
      }
  }

  // Of all four threads of row i.
  __device__ __forceinline__ float whole_sum(int i) const {
    float whole = sum[i];
    for (int mask = 1; mask <= 2; mask *= 2) whole += __shfl_xor_sync(~0u, whole, mask);
    return whole;
  }
};

}  // namespace ROPEWALK_CUDA

// What one piece of keys gives, merged into what earlier pieces gave (Milakov & Gimelshein, arXiv 1805.02867; Dao,
// arXiv 2307.08691).
#pragma once

#include "kernels/cuda/block.h"
#include "kernels/cuda/elements.h"

namespace ROPEWALK_CUDA {

// Row `at` of (o, lse): L = log(exp(lse) + exp(piece)),  o = exp(lse - L) o + exp(piece - L) out / sum; `before` is
// what lse was. The row is number i of the two of which four threads have `out`, as OnlineSoftmax has them. By all
// threads of the warp, whether the row is there or not.
template <int K>
__device__ __forceinline__ void merge_row(const float (&out)[K / 8][4], int i, float piece, float sum, bool exists,
                                          int64_t at, float before, float* o, float* lse) {
  __syncwarp();  // all of the row have read lse before one of them writes it
  if (!exists) return;
  const bool is_first = before == -INFINITY;
  const float larger = fmaxf(before, piece);
  const float all = is_first ? piece : larger + logf(expf(before - larger) + expf(piece - larger));
  const float keep = is_first ? 0 : expf(before - all), take = (is_first ? 1 : expf(piece - all)) / sum;
  ROPEWALK_UNROLL
  for (int part = 0; part < K / 8; ++part) {
    float* to = o + at * K + part * 8 + lane() % 4 * 2;
    Pack<float, 2> pair = {{take * out[part][2 * i], take * out[part][2 * i + 1]}};
    if (!is_first) {
      const Pack<float, 2> old = load<2>(to);
      for (int j = 0; j < 2; ++j) pair.values[j] += keep * old.values[j];
    }
    store(pair, to);
  }
  if (lane() % 4 == 0) lse[at] = all;
}

}  // namespace ROPEWALK_CUDA

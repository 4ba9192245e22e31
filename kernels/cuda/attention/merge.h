// Merges the attention output and log-sum-exp of one piece of the keys into those of earlier pieces (Milakov &
// Gimelshein, arXiv 1805.02867; Dao, arXiv 2307.08691).
#pragma once

#include "kernels/cuda/block.h"
#include "kernels/cuda/elements.h"

namespace ROPEWALK_CUDA {

// Updates row `at` of (o, lse), whose lse was `before`:
//
//     lse = L = log(exp(before) + exp(piece)),  o = exp(before - L) o + exp(piece - L) out / sum
//
// piece: the row's log-sum-exp over this piece; out: its output before normalization; sum: its softmax denominator. i
// (0 or 1) selects one of the two rows of which this thread holds a part, laid out as in OnlineSoftmax. All threads of
// the warp must call; where not `exists`, nothing is merged.
template <int K>
__device__ __forceinline__ void merge_row(const float (&out)[K / 8][4], int i, float piece, float sum, bool exists,
                                          int64_t at, float before, float* o, float* lse) {
  __syncwarp();  // all four threads of the row have read lse before one of them writes it
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

// Rows of attention that continue from earlier calls, over other keys (Milakov & Gimelshein, arXiv 1805.02867; Dao,
// arXiv 2307.08691). The softmax over those keys, (o, lse), counts as one key with the score lse and the value o: the
// rows begin with it, and are written back to (o, lse) at the end.
#pragma once

#include "kernels/cuda/attention/online_softmax.h"
#include "kernels/cuda/elements.h"

namespace ROPEWALK_CUDA {

// Its weight is written as 2^kAhead, not 1, so that the largest weight of the new keys is exactly 1 even where their
// scores are smaller (see OnlineSoftmax). Where they are smaller by more than kAhead, they no longer count in fp32.
constexpr float kAhead = 32;

// Sets row i (0 or 1) of the two rows of which this thread holds a part, laid out as in OnlineSoftmax, to what it had:
// row `at` of o, and `before`, its lse. If before is -infinity (nothing seen before, or no such row), o is not read.
template <int K>
__device__ __forceinline__ void continue_row(float (&out)[K / 8][4], OnlineSoftmax& softmax, int i, int64_t at,
                                             float before, const float* o) {
  const bool is_first = before == -INFINITY;
  constexpr float kWeight = 1ull << static_cast<int>(kAhead);
  softmax.largest[i] = kLog2e * before - kAhead;
  softmax.sum[i] = !is_first && lane() % 4 == 0 ? kWeight : 0;  // one of the row's four threads has the weight of o
  ROPEWALK_UNROLL
  for (int part = 0; part < K / 8; ++part) {
    Pack<float, 2> old{};
    if (!is_first) old = load<2>(o + at * K + part * 8 + lane() % 4 * 2);
    for (int j = 0; j < 2; ++j) out[part][2 * i + j] = kWeight * old.values[j];
  }
}

// Writes row i to row `at` of (o, lse) if it `sees` any of these keys. All threads of the warp must call.
template <int K>
__device__ __forceinline__ void write_row(const float (&out)[K / 8][4], const OnlineSoftmax& softmax, int i, bool sees,
                                          int64_t at, float* o, float* lse) {
  const float sum = softmax.whole_sum(i);  // synchronizes the row's threads: all have read lse before one writes it
  if (!sees) return;
  const float factor = 1 / sum;
  ROPEWALK_UNROLL
  for (int part = 0; part < K / 8; ++part)
    store(Pack<float, 2>{{factor * out[part][2 * i], factor * out[part][2 * i + 1]}},
          o + at * K + part * 8 + lane() % 4 * 2);
  if (lane() % 4 == 0) lse[at] = kLn2 * softmax.largest[i] + logf(sum);
}

}  // namespace ROPEWALK_CUDA

// AdamW: one pass over weights, gradients and both moments, all fp32.
#include "kernels/cuda/block.h"
#include "kernels/cuda/operations.h"

namespace ROPEWALK_CUDA {
namespace {

template <int n>
__global__ void adamw_kernel(int64_t count, float* w, const float* g, float* m, float* v, AdamWFactors f) {
  const int64_t i = first_of_thread<n>();
  if (i >= count) return;
  const Pack<float, n> gradients = load<n>(g + i);
  Pack<float, n> weights = load<n>(w + i), means = load<n>(m + i), squares = load<n>(v + i);
  for (int j = 0; j < n; ++j) {
    const float gradient = f.gradient_scale * gradients.values[j];
    float &weight = weights.values[j], &mean = means.values[j], &square = squares.values[j];
    mean = f.beta1 * mean + f.rest1 * gradient;
    square = f.beta2 * square + f.rest2 * gradient * gradient;
    weight -= f.rate * (f.first * mean / (sqrtf(f.second * square) + f.epsilon) + f.decay * weight);
  }
  store(weights, w + i);
  store(means, m + i);
  store(squares, v + i);
}

}  // namespace

void adamw(const Runtime& runtime, int64_t count, float* w, const float* g, float* m, float* v,
           const AdamWFactors& factors) {
  with_pack<4>(pack_of(count, sizeof(float), w, g, m, v), [&](auto n) {
    launch(runtime, {blocks_for(count, kThreads * n()), kThreads}, adamw_kernel<n()>, count, w, g, m, v, factors);
  });
}

}  // namespace ROPEWALK_CUDA

// AdamW: one pass over master weights, gradients and both moments, all fp32, that also writes the weights in bf16.
#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/operand.h"
#include "kernels/operations/adamw.h"

namespace ROPEWALK_CUDA {
namespace {

struct Factors {
  float gradient_scale, beta1, rest1, beta2, rest2;
  float first, second;  // bias corrections
  float epsilon, rate, decay;
};

Factors factors_of(const AdamWStep& step) {
  const operations::AdamWFactors correct(step);
  const auto narrow = [](double x) { return static_cast<float>(x); };
  return {narrow(step.gradient_scale), narrow(step.beta1),       narrow(1 - step.beta1), narrow(step.beta2),
          narrow(1 - step.beta2),      narrow(correct.first),    narrow(correct.second), narrow(step.epsilon),
          narrow(step.rate),           narrow(step.weight_decay)};
}

template <int n>
__global__ void adamw_kernel(int64_t count, float* w, const float* g, float* m, float* v, Bf16* narrow, Factors f) {
  const int64_t i = first_of_thread<n>();
  if (i >= count) return;
  const Pack<float, n> gradients = load<n>(g + i);
  Pack<Bf16, n> narrows;
  Pack<float, n> weights = load<n>(w + i), means = load<n>(m + i), squares = load<n>(v + i);
  for (int j = 0; j < n; ++j) {
    const float gradient = f.gradient_scale * gradients.values[j];
    float &weight = weights.values[j], &mean = means.values[j], &square = squares.values[j];
    mean = f.beta1 * mean + f.rest1 * gradient;
    square = f.beta2 * square + f.rest2 * gradient * gradient;
    weight -= f.rate * (f.first * mean / (sqrtf(f.second * square) + f.epsilon) + f.decay * weight);
    narrows.values[j] = rounded<Bf16>(weight);
  }
  store(weights, w + i);
  store(means, m + i);
  store(squares, v + i);
  store(narrows, narrow + i);
}

}  // namespace

void CudaBackend::adamw(const Tensor& w, const Tensor& g, const Tensor& m, const Tensor& v, const Tensor& narrow,
                        const AdamWStep& step) {
  const int64_t count = w.elements();
  const Factors factors = factors_of(step);
  float *weights = at<float>(w), *gradients = at<float>(g), *means = at<float>(m), *squares = at<float>(v);
  const bool in_packs = reinterpret_cast<uintptr_t>(narrow.raw()) % sizeof(Pack<Bf16, 4>) == 0;
  with_pack<4>(in_packs ? pack_of(count, sizeof(float), weights, gradients, means, squares) : 1, [&](auto n) {
    launch(runtime_, {blocks_for(count, kThreads * n()), kThreads}, adamw_kernel<n()>, count, weights, gradients, means,
           squares, at<Bf16>(narrow), factors);
  });
}

}  // namespace ROPEWALK_CUDA

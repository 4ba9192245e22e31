// Cross-entropy over a vocabulary that is sharded over ranks, from bf16 logits.
#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/fast_math.h"
#include "kernels/cuda/operand.h"
#include "kernels/operations/cross_entropy.h"

namespace ROPEWALK_CUDA {
namespace {

constexpr float kNone = -INFINITY;

// The column of a target in a row of these logits; -1 if the target is ignored or in another rank's shard.
__device__ __forceinline__ int64_t column_of(int32_t target, int64_t v_begin, int64_t V) {
  const int64_t v = target - v_begin;
  return target >= 0 && 0 <= v && v < V ? v : -1;
}

// Converts a sum of exponentials relative to `from` into one relative to `to` >= from. The sum of no logits stays 0,
// and that of NaNs stays NaN.
__device__ __forceinline__ float rescaled(float sum, float from, float to) {
  return from == kNone ? sum : sum * expf(from - to);
}

// One block per row. Each thread keeps (largest, sum of exponentials relative to it) of its logits. It computes the
// largest of a pack first, so that a logit costs only a multiplication and an exponential.
template <int n>
__global__ void partials_kernel(int64_t V, const Bf16* logits, const int32_t* targets, int64_t v_begin, float scale,
                                float* partials) {
  const int64_t row = blockIdx.x;
  const Bf16* at = logits + row * V;
  float largest = kNone, sum = 0;
  for (int64_t v = int64_t{threadIdx.x} * n; v < V; v += int64_t{blockDim.x} * n) {
    const Pack<Bf16, n> pack = load<n>(at + v);
    float some[n], most = largest;
    for (int j = 0; j < n; ++j) {
      some[j] = scale * widen(pack.values[j]);
      most = fmaxf(most, some[j]);  // ignores NaNs; they reach the sum
    }
    const float base = most == kNone ? 0 : kLog2e * most;
    // Not if they are equal: the factor would be 1 up to rounding, and the errors would accumulate.
    if (largest != most) sum *= exp2_flushed(kLog2e * largest - base);
    for (int j = 0; j < n; ++j) sum += exp2_flushed(kLog2e * some[j] - base);
    largest = most;
  }
  auto* scratch = shared_memory<float>();
  const float all = over_block(largest, Larger(), scratch);
  const float total = over_block(rescaled(sum, largest, all), Plus(), scratch + kThreads / kWarp);
  if (threadIdx.x != 0) return;
  const int64_t target = column_of(targets[row], v_begin, V);
  partials[3 * row] = all;
  partials[3 * row + 1] = total;
  partials[3 * row + 2] = target >= 0 ? scale * widen(at[target]) : 0;
}

__global__ void merge_kernel(int64_t R, int64_t N, const float* partials, const int32_t* targets, float* log_sum,
                             float* losses) {
  const int64_t row = first_of_thread<1>();
  if (row >= N) return;
  float largest = kNone, sum = 0, target = 0;
  for (int64_t r = 0; r < R; ++r) {
    const float piece = partials[(r * N + row) * 3];
    if (piece > largest) largest = piece;
  }
  for (int64_t r = 0; r < R; ++r) {
    const float* piece = partials + (r * N + row) * 3;
    sum += rescaled(piece[1], piece[0], largest);
    target += piece[2];
  }
  log_sum[row] = largest + logf(sum);
  losses[row] = targets[row] == -1 ? 0 : log_sum[row] - target;
}

template <int n>
__global__ void backward_kernel(int64_t V, Bf16* logits, const int32_t* targets, const float* log_sum, int64_t v_begin,
                                float scale, float outer) {
  const int64_t row = blockIdx.x, target = column_of(targets[row], v_begin, V);
  const bool ignored = targets[row] == -1;
  const float slope = kLog2e * scale, base = kLog2e * log_sum[row];
  Bf16* at = logits + row * V;
  for (int64_t v = int64_t{threadIdx.x} * n; v < V; v += int64_t{blockDim.x} * n) {
    Pack<Bf16, n> pack = {};
    if (!ignored) {
      pack = load<n>(at + v);
      float share[n];
      for (int j = 0; j < n; ++j) share[j] = exp2_flushed(slope * widen(pack.values[j]) - base);
      if (v <= target && target < v + n)
        for (int j = 0; j < n; ++j) share[j] -= v + j == target ? 1 : 0;
      for (int j = 0; j < n; ++j) pack.values[j] = rounded<Bf16>(share[j] * outer);
    }
    store(pack, at + v);
  }
}

constexpr int64_t kScratch = 2 * kThreads / kWarp * sizeof(float);

}  // namespace

void CudaBackend::cross_entropy_partials(const Tensor& logits, const Tensor& targets, int64_t v_begin,
                                         double logit_scale, const Tensor& partials) {
  const auto s = operations::cross_entropy_sizes(logits);
  with_pack<8>(pack_of(s.V, sizeof(Bf16), logits.raw()), [&](auto n) {
    launch(runtime_, {s.N, kThreads, 1, kScratch}, partials_kernel<n()>, s.V, at<Bf16>(logits), at<int32_t>(targets),
           v_begin, static_cast<float>(logit_scale), at<float>(partials));
  });
}

void CudaBackend::cross_entropy_merge(const Tensor& partials, const Tensor& targets, const Tensor& log_sum,
                                      const Tensor& losses) {
  const auto [R, N] = operations::cross_entropy_merge_sizes(partials);
  launch(runtime_, {blocks_for(N), kThreads}, merge_kernel, R, N, at<float>(partials), at<int32_t>(targets),
         at<float>(log_sum), at<float>(losses));
}

void CudaBackend::cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                                         int64_t v_begin, double logit_scale, double loss_scale) {
  const auto s = operations::cross_entropy_sizes(logits);
  with_pack<8>(pack_of(s.V, sizeof(Bf16), logits.raw()), [&](auto n) {
    launch(runtime_, {s.N, kThreads}, backward_kernel<n()>, s.V, at<Bf16>(logits), at<int32_t>(targets),
           at<float>(log_sum), v_begin, static_cast<float>(logit_scale), static_cast<float>(logit_scale * loss_scale));
  });
}

}  // namespace ROPEWALK_CUDA

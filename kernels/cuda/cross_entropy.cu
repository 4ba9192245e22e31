// Cross-entropy over a split vocabulary, from bf16 logits.
#include "kernels/cuda/block.h"
#include "kernels/cuda/operations.h"

namespace ROPEWALK_CUDA {
namespace {

constexpr float kNone = -INFINITY;

// Where a target stands in a row of these logits, or -1: ignored, or another rank's.
__device__ __forceinline__ int64_t column_of(int32_t target, int64_t v_begin, int64_t V) {
  const int64_t v = target - v_begin;
  return target >= 0 && 0 <= v && v < V ? v : -1;
}

// sum, which is relative to exp(from), relative to exp(to) >= exp(from). A sum of nothing stays so, and one of NaNs
// too.
__device__ __forceinline__ float rescaled(float sum, float from, float to) {
  return from == kNone ? sum : sum * expf(from - to);
}

// A block for each row. Each thread keeps (largest, sum of exponentials relative to it) of its logits.
template <int n>
__global__ void partials_kernel(int64_t V, const Bf16* logits, const int32_t* targets, int64_t v_begin, float scale,
                                float* partials) {
  const int64_t row = blockIdx.x;
  const Bf16* at = logits + row * V;
  float largest = kNone, sum = 0;
  for (int64_t v = int64_t{threadIdx.x} * n; v < V; v += int64_t{blockDim.x} * n) {
    const Pack<Bf16, n> pack = load<n>(at + v);
    for (int j = 0; j < n; ++j) {
      const float logit = scale * widen(pack.values[j]);
      if (logit > largest) {
        sum = rescaled(sum, largest, logit) + 1;
        largest = logit;
      } else {
        sum += logit == kNone ? 0 : expf(logit - largest);  // a NaN comes here, and stays in the sum
      }
    }
  }
  const float all = over_block(largest, Larger(), shared_memory<float>());
  const float total = over_block(rescaled(sum, largest, all), Plus(), shared_memory<float>());
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
  const float base = log_sum[row];
  for (int64_t v = int64_t{threadIdx.x} * n; v < V; v += int64_t{blockDim.x} * n) {
    Pack<Bf16, n> pack = load<n>(logits + row * V + v);
    for (int j = 0; j < n; ++j) {
      const float hit = v + j == target ? 1 : 0;
      pack.values[j] = rounded<Bf16>(ignored ? 0.0f : (expf(scale * widen(pack.values[j]) - base) - hit) * outer);
    }
    store(pack, logits + row * V + v);
  }
}

constexpr int64_t kScratch = kThreads / kWarp * sizeof(float);

}  // namespace

void cross_entropy_partials(const Runtime& runtime, int64_t N, int64_t V, const Bf16* logits, const int32_t* targets,
                            int64_t v_begin, float scale, float* partials) {
  with_pack<8>(pack_of(V, sizeof(Bf16), logits), [&](auto n) {
    launch(runtime, {N, kThreads, 1, kScratch}, partials_kernel<n()>, V, logits, targets, v_begin, scale, partials);
  });
}

void cross_entropy_merge(const Runtime& runtime, int64_t R, int64_t N, const float* partials, const int32_t* targets,
                         float* log_sum, float* losses) {
  launch(runtime, {blocks_for(N), kThreads}, merge_kernel, R, N, partials, targets, log_sum, losses);
}

void cross_entropy_backward(const Runtime& runtime, int64_t N, int64_t V, Bf16* logits, const int32_t* targets,
                            const float* log_sum, int64_t v_begin, float scale, float outer) {
  with_pack<8>(pack_of(V, sizeof(Bf16), logits), [&](auto n) {
    launch(runtime, {N, kThreads}, backward_kernel<n()>, V, logits, targets, log_sum, v_begin, scale, outer);
  });
}

}  // namespace ROPEWALK_CUDA

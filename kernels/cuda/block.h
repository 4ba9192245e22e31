// Threads that work together: deterministic reductions whose result every thread gets.
#pragma once

#include "kernels/cuda/launch.h"

namespace ROPEWALK_CUDA {

inline constexpr int kWarp = 32;
__device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ __forceinline__ int warp() { return static_cast<int>(threadIdx.x) / kWarp; }

struct Plus {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Larger {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};
struct Smaller {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};

// Two values that are summed in one reduction.
struct Pair {
  float first, second;
  __device__ friend Pair operator+(Pair a, Pair b) { return {a.first + b.first, a.second + b.second}; }
};

// The x of lane (lane() ^ mask).
template <typename T>
__device__ __forceinline__ T of_other_lane(T x, int mask) {
  return __shfl_xor_sync(~0u, x, mask);
}
__device__ __forceinline__ Pair of_other_lane(Pair x, int mask) {
  return {of_other_lane(x.first, mask), of_other_lane(x.second, mask)};
}

// Reduces x over each group of kSize lanes. Called by the whole warp.
template <int kSize = kWarp, typename T, typename Combine>
__device__ __forceinline__ T over_warp(T x, Combine combine) {
  for (int mask = kSize / 2; mask > 0; mask /= 2) x = combine(x, of_other_lane(x, mask));
  return x;
}

// Reduces x over a block of kThreads_ threads. `scratch`: shared memory, one T per warp. Consecutive reductions must
// use different scratch, since some warps may still read that of the previous one.
template <int kThreads_ = kThreads, typename T, typename Combine>
__device__ __forceinline__ T over_block(T x, Combine combine, T* scratch) {
  x = over_warp(x, combine);
  if (lane() == 0) scratch[warp()] = x;
  __syncthreads();
  T all = scratch[0];
  ROPEWALK_UNROLL
  for (int w = 1; w < kThreads_ / kWarp; ++w) all = combine(all, scratch[w]);
  return all;
}

// The threads that share a row: some lanes of a warp, a warp, or a whole block for long rows.
template <int kSize>
struct Team {
  static constexpr int kBlock = kSize <= kWarp ? kThreads : kSize;  // threads in a block
  static constexpr int kTeams = kBlock / kSize;                     // teams in a block
  // Shared memory: for each of two turns, one value of up to 8 bytes per warp.
  static constexpr int64_t kScratchBytes = kSize <= kWarp ? 0 : 2 * 8 * kBlock / kWarp;

  // Indices among all teams of the grid. first(): the first team of this thread's warp; a warp's teams must loop
  // together, because they reduce together. index(): this thread's team.
  __device__ static int64_t first() {
    const int thread = static_cast<int>(threadIdx.x), unit = kSize < kWarp ? kWarp : kSize;
    return int64_t{blockIdx.x} * kTeams + thread / unit * (unit / kSize);
  }
  __device__ static int64_t index() { return int64_t{blockIdx.x} * kTeams + static_cast<int>(threadIdx.x) / kSize; }
  __device__ static int rank() { return static_cast<int>(threadIdx.x) % kSize; }
  // Reduces x over the team. Consecutive reductions must alternate between turn 0 and 1, which select the scratch.
  template <typename T, typename Combine>
  __device__ static T over(T x, Combine combine, [[maybe_unused]] int turn) {
    if constexpr (kSize <= kWarp)
      return over_warp<kSize>(x, combine);
    else
      return over_block<kBlock>(x, combine, shared_memory<T>() + turn * kBlock / kWarp);
  }
};

// Calls f(std::integral_constant<int, n>) for n = `pack`, which is kWidest or 1.
template <int kWidest, typename F>
void with_pack(int pack, F&& f) {
  if (pack == kWidest)
    f(std::integral_constant<int, kWidest>{});
  else
    f(std::integral_constant<int, 1>{});
}

// The index of the first of this thread's n adjacent elements.
template <int n>
__device__ __forceinline__ int64_t first_of_thread() {
  return (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * n;
}

}  // namespace ROPEWALK_CUDA

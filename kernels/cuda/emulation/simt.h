// CUDA's execution model on the host. The threads of a block are fibers of one host thread. Blocks start in random
// order, each when the blocks that have started are done or wait; in kernels with asynchronous operations some start
// earlier, at random. A warp runs until it must wait before another warp runs, and the order of warps is random: if
// code forgets a barrier, some warp runs far ahead of the others. Shared memory is filled with NaNs when a block
// starts. Threads that wait for each other at different barriers fail CHECK.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

namespace ropewalk::simt {

struct Index {
  unsigned x = 1, y = 1, z = 1;
};
inline constexpr unsigned kWarp = 32;

// Of the running thread. Without constinit, thread_local variables are accessed through a wrapper function, about which
// sanitizers give false reports.
extern constinit thread_local Index thread_index, block_index, block_size, grid_size;

// Runs `thread` for each thread of each block. Blocks consist of whole warps.
void run(Index grid, Index block, size_t shared_bytes, const std::function<void()>& thread);

unsigned char* shared_memory();  // the running block's
void sync_block();
void sync_warp();
// The value of `mine` that lane `lane` of this warp passes in the same call.
uint64_t from_lane(uint64_t mine, unsigned lane);

template <typename T>
T shuffled(T value, unsigned lane) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = from_lane(bits, lane);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
inline unsigned lane() { return thread_index.x % kWarp; }

void check_aligned(const void* at, size_t bytes);  // fails if `at` is not a multiple of `bytes`, as a device does

// The instructions of tensor_core.h. A copy arrives either at once or when it is waited for, at random.
void multiply_add(float (&c)[4], const uint32_t (&a_and_b)[6]);
void load_matrices(uint32_t (&r)[4], const void* row, bool transposed);
void copy_async(void* shared, const void* from, bool exists);
void commit();
void wait(int newest_groups);

}  // namespace ropewalk::simt

#define threadIdx ::ropewalk::simt::thread_index
#define blockIdx ::ropewalk::simt::block_index
#define blockDim ::ropewalk::simt::block_size
#define gridDim ::ropewalk::simt::grid_size

inline void __syncthreads() { ropewalk::simt::sync_block(); }
inline void __syncwarp() { ropewalk::simt::sync_warp(); }
// Shuffles of whole warps only.
template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return ropewalk::simt::shuffled(value, ropewalk::simt::lane() ^ static_cast<unsigned>(mask));
}
inline bool __any_sync(unsigned, bool predicate) {
  for (int mask = 1; mask < static_cast<int>(ropewalk::simt::kWarp); mask *= 2)
    predicate |= __shfl_xor_sync(~0u, predicate, mask);
  return predicate;
}
template <typename T>
T __shfl_sync(unsigned, T value, int lane) {
  return ropewalk::simt::shuffled(value, static_cast<unsigned>(lane) % ropewalk::simt::kWarp);
}

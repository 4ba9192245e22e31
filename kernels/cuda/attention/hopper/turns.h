// The order in which the blocks of the backward add to dq, so that the same bits come twice. A tile of rows is added to
// by the tiles of keys that it sees, from the first to the last: a count for each (tile of rows, key head) says how
// many have.
//
// No deadlock: blocks take numbers as they begin, tiles of keys from the first to the last, and a block waits only for
// blocks of smaller numbers. These run, or are done: the one of the smallest number waits for none.
//
// Short waits: rows are met from the last to the first. Where all tiles of keys are seen by the last rows, blocks
// that begin together follow each other at the distance of one tile of rows; those that begin later, as earlier ones
// end, begin in the order of their numbers and meet no one. With a window, the later a tile of keys is the later are
// the rows that it begins with: it comes to those of the tile before when that one is away.
#pragma once

#include "kernels/cuda/block.h"
#include "kernels/cuda/hopper/barrier.h"

namespace ROPEWALK_CUDA {

struct Turns {
  int* counts;  // of who has had a turn, at each place; before them the number of the next block; null: no order

  __device__ bool are_kept() const { return counts != nullptr; }

  // By one thread, once.
  __device__ int64_t number_of_block() const {
    if (!are_kept()) return blockIdx.x;
#ifdef __CUDACC__
    return atomicAdd(counts, 1);
#else
    return (*counts)++;
#endif
  }

  // By a warp, whose bulk sums begin after this and are done before end().
  __device__ void await(int place, int turn) const {
    if (!are_kept()) return;
#ifdef __CUDACC__
    if (lane() == 0) {
      int had = 0;
      do {
        asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(had) : "l"(counts + 1 + place) : "memory");
      } while (had != turn);
    }
    __syncwarp();
    asm volatile("fence.proxy.async.global;" ::: "memory");
#else
    if (lane() == 0) simt::wait_for_value(counts + 1 + place, turn);
    __syncwarp();
#endif
  }
  __device__ void end(int place) const {
    if (!are_kept()) return;
#ifdef __CUDACC__
    asm volatile("fence.proxy.async.global;" ::: "memory");
    __threadfence();
    __syncwarp();
    if (lane() == 0) asm volatile("red.release.gpu.global.add.s32 [%0], 1;" ::"l"(counts + 1 + place) : "memory");
#else
    __syncwarp();
    if (lane() == 0) ++counts[1 + place];
#endif
  }
};

}  // namespace ROPEWALK_CUDA

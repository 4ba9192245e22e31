// The order in which the blocks of the backward add to dq, so that the same bits come twice. A tile of rows is added to
// by the tiles of keys that it sees, from the first to the last: a count for each (tile of rows, key head) says how
// many have.
//
// No deadlock: blocks take numbers as they begin, of each key head the tiles of keys from the first to the last, and a
// block waits only for blocks of smaller numbers. These run, or are done: the one of the smallest number waits for
// none. And each turn comes: the tiles of keys that a tile of rows sees follow each other without a gap, as documents
// begin at a query's own position at the latest, and never earlier than the query's before it (AttentionSpan).
//
// Short waits: blocks meet the tiles of rows that they share in one order (KeyTile), and so follow each other at the
// distance of about one of them.
#pragma once

#include "kernels/cuda/block.h"
#include "kernels/cuda/hopper/barrier.h"

namespace ROPEWALK_CUDA {

struct Turns {
  int* counts;  // of who has had a turn, at each place; before them the number of the next block; null: no order

  __device__ bool are_kept() const { return counts != nullptr; }

  // By one thread of each block, once.
  __device__ int number_of_block() const {
    if (!are_kept()) return static_cast<int>(blockIdx.x);
#ifdef __CUDACC__
    return atomicAdd(counts, 1);
#else
    return (*counts)++;
#endif
  }

  // Where turns are kept, by the thread that asks for the bulk sums of this one, before.
  __device__ void await(int place, int turn) const {
#ifdef __CUDACC__
    int had = 0;
    do {
      asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(had) : "l"(counts + 1 + place) : "memory");
    } while (had != turn);
    asm volatile("fence.proxy.async.global;" ::: "memory");
#else
    simt::wait_for_value(counts + 1 + place, turn);
#endif
  }
  // By the same thread, after it has waited for them.
  __device__ void end(int place) const {
#ifdef __CUDACC__
    asm volatile("fence.proxy.async.global;" ::: "memory");
    asm volatile("red.release.gpu.global.add.s32 [%0], 1;" ::"l"(counts + 1 + place) : "memory");
#else
    ++counts[1 + place];
#endif
  }
};

}  // namespace ROPEWALK_CUDA

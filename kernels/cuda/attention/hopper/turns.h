// The order in which the blocks of the Hopper backward add to dq, so that dq is bitwise reproducible. The key tiles
// that a row tile sees add to its dq in ascending order. A counter for each (row tile, KV head) holds how many have
// added.
//
// No deadlock: blocks take numbers as they start, and the key tiles of a KV head have ascending numbers, so that a
// block waits only for blocks that have started before it. Of the blocks that are not done, the one with the smallest
// number waits for none. Every count that a block waits for is reached: the key tiles that a row tile sees are
// contiguous, because document_begin[t] never decreases and is at most the position of query t (AttentionSpan), and
// because of what key_tile() does about a gap.
//
// Short waits: blocks visit the row tiles that they share in the same order (KeyTile), each about one row tile behind
// the block before it.
#pragma once

#include "kernels/cuda/block.h"
#include "kernels/cuda/hopper/barrier.h"

namespace ROPEWALK_CUDA {

struct Turns {
  // In device memory, zeroed before each launch. counts[0]: the number of the next block. counts[1 + place], with place
  // = row tile * G + KV head: how many key tiles have added there. Null: blocks add in any order.
  int* counts;

  __device__ bool are_kept() const { return counts != nullptr; }

  // The index of this block's work (key_tile). Called once, by one thread of the block.
  __device__ int number_of_block() const {
    if (!are_kept()) return static_cast<int>(blockIdx.x);
#ifdef __CUDACC__
    return atomicAdd(counts, 1);
#else
    return (*counts)++;
#endif
  }

  // Waits until `turn` key tiles have added at `place`. Called only if are_kept(), by the thread that then issues
  // this block's addition.
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
  // Lets the next key tile add. Called by the same thread, once its addition is complete (wait_bulk<0>).
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

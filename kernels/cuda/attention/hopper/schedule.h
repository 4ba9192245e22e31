// Which row block a thread block of the forward computes next. Thread blocks are persistent: each takes one row block
// after another. Row blocks that see the most keys come first within a section of KV heads, so that all thread blocks
// end at about the same time.
#pragma once

#include "kernels/cuda/attention/geometry.h"

namespace ROPEWALK_CUDA {

// The order of the row blocks of all KV heads. Heads are taken in sections. A section is one head, or several heads
// whose keys and values (with a window, those in one window) fit into the L2 cache.
struct RowSchedule {
  unsigned count;              // row_blocks * heads
  unsigned row_blocks, heads;  // row blocks of a KV head; KV heads
  unsigned section;            // KV heads in a section
  unsigned* taken;             // in device memory: numbers taken in this launch; 0 before and after each launch
};

// Returns 0, 1, 2, ..., each once in a launch. Every thread block must call it until it gets a number that is not below
// schedule.count, and not again: the last of these count + gridDim.x calls sets the counter back to 0.
__device__ __forceinline__ unsigned take_number(const RowSchedule& schedule) {
  const unsigned last = schedule.count + gridDim.x - 1;
#ifndef ROPEWALK_CUDA_EMULATED
  return atomicInc(schedule.taken, last);
#else  // The emulation switches between blocks only where they wait, so this is atomic.
  const unsigned number = *schedule.taken;
  *schedule.taken = number == last ? 0 : number + 1;
  return number;
#endif
}

// A row block of a KV head.
struct ScheduledRows {
  unsigned row_block, head;
};
__device__ __forceinline__ ScheduledRows row_block(const RowSchedule& schedule, unsigned number) {
  const unsigned of_section = schedule.row_blocks * schedule.section, first = number / of_section * schedule.section;
  const unsigned heads = schedule.heads - first < schedule.section ? schedule.heads - first : schedule.section;
  const unsigned rest = number % of_section;
  return {schedule.row_blocks - 1 - rest / heads, first + rest % heads};
}

}  // namespace ROPEWALK_CUDA

// Which rows a block computes next. A thread block stays on its multiprocessor and takes one block of rows after
// another, the ones that see the most keys first; so all thread blocks end at about the same time.
#pragma once

#include "kernels/cuda/attention/geometry.h"

namespace ROPEWALK_CUDA {

// The blocks of rows of all key heads, in order: some heads, whose keys and values the L2 cache holds, before the next.
struct RowSchedule {
  unsigned count;  // of blocks of rows
  unsigned row_blocks, heads;
  unsigned section;  // heads at a time
  unsigned* taken;   // counts who has asked; 0 before a launch and after it
};

// A number that nobody else of this launch gets. Each of the grid's blocks asks until one is not below schedule.count,
// and then no more: the last to ask makes it 0 again.
__device__ __forceinline__ unsigned take_number(const RowSchedule& schedule) {
  const unsigned last = schedule.count + gridDim.x - 1;
#ifndef ROPEWALK_CUDA_EMULATED
  return atomicInc(schedule.taken, last);
#else  // Blocks change only where they wait, so this is not interrupted.
  const unsigned number = *schedule.taken;
  *schedule.taken = number == last ? 0 : number + 1;
  return number;
#endif
}

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

// Rings of places in shared memory that are used again and again, each with a barrier of its own.
#pragma once

#include "kernels/cuda/platform.h"

namespace ROPEWALK_CUDA {

// A place, and the parity of its barrier's phase.
template <int kStages>
struct RingPlace {
  int stage = 0;
  uint32_t parity = 0;

  // Of the i-th use.
  __device__ static RingPlace of(int i) { return {i % kStages, static_cast<uint32_t>(i / kStages % 2)}; }
  __device__ void next() {
    if (++stage < kStages) return;
    stage = 0;
    parity ^= 1;
  }
};

}  // namespace ROPEWALK_CUDA

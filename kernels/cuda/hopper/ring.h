// Ring buffers of stages in shared memory, each stage with its own barriers.
#pragma once

#include "kernels/cuda/platform.h"

namespace ROPEWALK_CUDA {

// A position in the ring: the stage, and the parity of its barriers' current phase.
template <int kStages>
struct RingPlace {
  int stage = 0;
  uint32_t parity = 0;

  // The position of the i-th item that goes through the ring.
  __device__ static RingPlace of(int i) { return {i % kStages, static_cast<uint32_t>(i / kStages % 2)}; }
  __device__ void next() {
    if (++stage < kStages) return;
    stage = 0;
    parity ^= 1;
  }
};

}  // namespace ROPEWALK_CUDA

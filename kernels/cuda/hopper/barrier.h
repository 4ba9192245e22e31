// Barriers that count arrivals and bytes (mbarrier), and named barriers for a subset of a block's threads. NVIDIA's PTX
// ISA, "Parallel Synchronization and Communication Instructions: mbarrier" and "barrier".
#pragma once

#include "kernels/cuda/block.h"
#include "kernels/cuda/elements.h"
#ifdef ROPEWALK_CUDA_EMULATED
#include "kernels/cuda/emulation/hopper.h"
#endif

namespace ROPEWALK_CUDA {

// Whether the target of this compilation has the instructions of sm_90a. Hopper kernels compiled for other targets
// trap.
#if defined(__CUDACC__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
constexpr bool kHasHopperInstructions = false;
#else
constexpr bool kHasHopperInstructions = true;
#endif

// Ends the kernel and fails its launch.
__device__ __forceinline__ void trap() {
#ifdef __CUDACC__
  asm volatile("trap;");
#endif
}

// An mbarrier, in shared memory. Its phases are numbered from 0. A phase is complete when all of its arrivals have been
// made and all bytes announced in it have been copied.
struct alignas(8) Barrier {
  uint64_t bits;
};

// `arrivals`: the number per phase. One thread calls init() and then publish_barriers(); then all threads call
// __syncthreads().
__device__ __forceinline__ void init(Barrier* barrier, int arrivals) {
#ifdef __CUDACC__
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
#else
  simt::init_barrier(&barrier->bits, arrivals);
#endif
}
__device__ __forceinline__ void publish_barriers() {
#ifdef __CUDACC__
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#else
  simt::publish_barriers();
#endif
}

__device__ __forceinline__ void arrive(Barrier* barrier) {
#ifdef __CUDACC__
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
#else
  simt::arrive(&barrier->bits);
#endif
}
// Arrives for a warp, after all its lanes have reached this point: kWarpArrivals times. That is once, except in builds
// for compute-sanitizer's racecheck: it (2025.3) knows that an mbarrier orders the accesses of threads that arrive and
// threads that wait, but not that __syncwarp() orders those of a warp's other lanes before its arriving lane.
#ifdef ROPEWALK_CUDA_FOR_RACECHECK
constexpr int kWarpArrivals = kWarp;
__device__ __forceinline__ void arrive_as_warp(Barrier* barrier) { arrive(barrier); }
#else
constexpr int kWarpArrivals = 1;
__device__ __forceinline__ void arrive_as_warp(Barrier* barrier) {
  __syncwarp();
  if (lane() == 0) arrive(barrier);
}
#endif
// Arrives, and announces the bytes of copies that are to complete in this phase.
__device__ __forceinline__ void arrive_expecting(Barrier* barrier, uint32_t bytes) {
#ifdef __CUDACC__
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
#else
  simt::arrive_expecting(&barrier->bits, bytes);
#endif
}

// Waits until the phase with this parity is complete. The parity is that of the current phase, or of the previous
// phase: then wait() returns at once.
__device__ __forceinline__ void wait(Barrier* barrier, uint32_t parity) {
#ifdef __CUDACC__
  uint32_t completed = 0;
  while (!completed)
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(completed)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
#else
  simt::wait_barrier(&barrier->bits, parity);
#endif
}

// Named barrier `id`, 1 to 15: waits until `threads` threads (whole warps) have arrived.
__device__ __forceinline__ void sync_threads_of(int id, int threads) {
#ifdef __CUDACC__
  asm volatile("barrier.cta.sync.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
#else
  simt::sync_threads_of(id, threads);
#endif
}

}  // namespace ROPEWALK_CUDA

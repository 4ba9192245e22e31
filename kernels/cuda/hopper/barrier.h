// Barriers that count arrivals and bytes (mbarrier), and named barriers of some of a block's threads. NVIDIA's PTX ISA,
// "Parallel Synchronization and Communication Instructions: mbarrier" and "barrier".
#pragma once

#include "kernels/cuda/block.h"
#include "kernels/cuda/elements.h"
#ifdef ROPEWALK_CUDA_EMULATED
#include "kernels/cuda/emulation/hopper.h"
#endif

namespace ROPEWALK_CUDA {

// Whether what is compiled here may use the instructions that only sm_90a has; a kernel that does not, traps.
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

// In shared memory. Its phases are numbered from 0; one is completed when all who arrive in a phase have done so and
// the bytes that they announced have come.
struct alignas(8) Barrier {
  uint64_t bits;
};

// By one thread; then publish_barriers() by it, and __syncthreads().
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
// One arrival for a warp, when all of it is done.
__device__ __forceinline__ void arrive_as_warp(Barrier* barrier) {
  __syncwarp();
  if (lane() == 0) arrive(barrier);
}
// Also announces bytes of copies that are to be asked for.
__device__ __forceinline__ void arrive_expecting(Barrier* barrier, uint32_t bytes) {
#ifdef __CUDACC__
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
#else
  simt::arrive_expecting(&barrier->bits, bytes);
#endif
}

// Until the phase of this parity is completed: the one that is under way, or the one before it.
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

// Barrier `id`, 1 to 15, of so many threads (whole warps), which wait for each other.
__device__ __forceinline__ void sync_threads_of(int id, int threads) {
#ifdef __CUDACC__
  asm volatile("barrier.cta.sync.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
#else
  simt::sync_threads_of(id, threads);
#endif
}

}  // namespace ROPEWALK_CUDA

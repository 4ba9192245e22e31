// TMA: asynchronous copies of boxes of tensors into shared memory, and additions from shared memory to boxes of
// tensors. One thread issues each. NVIDIA's PTX ISA, "Tensors", "cp.async.bulk.tensor" and
// "cp.reduce.async.bulk.tensor".
#pragma once

#include <initializer_list>

#include "kernels/cuda/hopper/barrier.h"

namespace ROPEWALK_CUDA {

// A tensor of bf16 or fp32, and the box of it that a copy moves: rows of 128 bytes. In shared memory the box begins at
// a multiple of 1024 bytes and is XOR-swizzled (CUDA's 128-byte swizzle): 16-byte piece p of row i is at p ^ (i mod 8).
// Reads outside the tensor give zeros, whose bytes count for the barrier too; additions outside it are dropped. Kernels
// take the map as `const __grid_constant__ TensorMap`.
#ifdef ROPEWALK_CUDA_EMULATED
using TensorMap = simt::TensorMap;
#else
struct alignas(64) TensorMap {
  uint64_t bits[16];  // CUtensorMap
};
#endif

// Dimensions are listed innermost first. `strides`, in elements, leave out the innermost one, which is 1. Defined in
// device/tensor_map.cu and in emulation/tensor_map.cpp.
TensorMap tensor_map(const Bf16* base, std::initializer_list<int64_t> extents, std::initializer_list<int64_t> strides,
                     std::initializer_list<int> box);
TensorMap tensor_map(const float* base, std::initializer_list<int64_t> extents, std::initializer_list<int64_t> strides,
                     std::initializer_list<int> box);

// The position within its row of 16-byte piece `piece`, 0 to 7, in shared memory.
__device__ __forceinline__ int swizzled_piece(int row, int piece) { return piece ^ row % 8; }

// Issues the copy of the box at coordinates `at`, innermost first. Called by one thread, which announces the box's
// bytes to the barrier, before or after, in the same phase.
template <int n>
__device__ __forceinline__ void copy_tile_async(void* shared, const TensorMap& map, Barrier* barrier,
                                                const int (&at)[n]) {
  static_assert(n == 3 || n == 4);
#ifdef __CUDACC__
  if constexpr (n == 3)
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
        "[%2];" ::"r"(shared_address(shared)),
        "l"(&map), "r"(shared_address(barrier)), "r"(at[0]), "r"(at[1]), "r"(at[2])
        : "memory");
  else
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, "
        "%6}], [%2];" ::"r"(shared_address(shared)),
        "l"(&map), "r"(shared_address(barrier)), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])
        : "memory");
#else
  simt::copy_tile_async(shared, map, &barrier->bits, at, n);
#endif
}

// Issues the bulk addition of a box in shared memory to the tensor's box at coordinates `at`. Called by one thread.
// commit_bulk() closes a group of the additions that the thread has issued. wait_bulk<n>() waits until at most its n
// newest groups are in flight; wait_bulk_read<n>() only until the older groups have read shared memory.
__device__ __forceinline__ void add_tile_async(const TensorMap& map, const float* shared, const int (&at)[3]) {
#ifdef __CUDACC__
  asm volatile(
      "cp.reduce.async.bulk.tensor.3d.global.shared::cta.add.tile.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(&map),
      "r"(shared_address(shared)), "r"(at[0]), "r"(at[1]), "r"(at[2])
      : "memory");
#else
  simt::add_tile_async(map, shared, at, 3);
#endif
}
__device__ __forceinline__ void commit_bulk() {
#ifdef __CUDACC__
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#else
  simt::commit_bulk();
#endif
}
template <int n>
__device__ __forceinline__ void wait_bulk_read() {
#ifdef __CUDACC__
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(n) : "memory");
#else
  simt::wait_bulk_read(n);
#endif
}
template <int n>
__device__ __forceinline__ void wait_bulk() {
#ifdef __CUDACC__
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(n) : "memory");
#else
  simt::wait_bulk(n);
#endif
}

}  // namespace ROPEWALK_CUDA

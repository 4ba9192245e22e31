// Copies of boxes of tensors, and sums, that one thread asks for (TMA). NVIDIA's PTX ISA, "Tensors",
// "cp.async.bulk.tensor" and "cp.reduce.async.bulk.tensor".
#pragma once

#include <initializer_list>

#include "kernels/cuda/hopper/barrier.h"

namespace ROPEWALK_CUDA {

// A tensor of bf16 or fp32 and the box of it that a copy moves: rows of 128 bytes, whose 16-byte pieces are exchanged
// in shared memory by the row's number modulo 8 (a swizzle of 128 bytes; so the box begins at a multiple of 1024). What
// lies outside of the tensor comes as zeros, and its bytes are counted too; what goes there is left out. Kernels take
// it as `const __grid_constant__ TensorMap`.
#ifdef ROPEWALK_CUDA_EMULATED
using TensorMap = simt::TensorMap;
#else
struct alignas(64) TensorMap {
  uint64_t bits[16];  // CUtensorMap
};
#endif

// Dimensions from the innermost on, whose stride is 1; strides, in elements, are those of the others. (device/ and
// emulation/ have each its own.)
TensorMap tensor_map(const Bf16* base, std::initializer_list<int64_t> extents, std::initializer_list<int64_t> strides,
                     std::initializer_list<int> box);
TensorMap tensor_map(const float* base, std::initializer_list<int64_t> extents, std::initializer_list<int64_t> strides,
                     std::initializer_list<int> box);

// Where in shared memory a piece of a row is.
__device__ __forceinline__ int swizzled_piece(int row, int piece) { return piece ^ row % 8; }

// Asks for the box at the coordinates, innermost first. By one thread, which has announced, or announces in the same
// phase, the bytes.
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

// The tensor's box at the coordinates += what lies in shared memory, by one thread. What a thread has asked for up to
// commit_bulk() is one group; wait_bulk<n>() waits until at most its n newest groups are on their way,
// wait_bulk_read<n>() only until shared memory has been read.
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

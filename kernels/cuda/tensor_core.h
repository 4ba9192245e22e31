// A warp's products of small bf16 matrices, as tensor cores from compute capability 8.0 on do them, and the moves of
// their operands. Layouts: NVIDIA's PTX ISA, "mma.m16n8k16" and "ldmatrix". Lane l has the row l / 4 and, of each pair
// of columns, number l % 4:
//
//     a [16, 16]  registers 0..3: rows l/4, l/4 + 8, l/4, l/4 + 8; columns 2(l%4), +1, and in 2 and 3 those 8 further
//     b [16, 8]   registers 0, 1: column l/4; rows 2(l%4), +1, and in 1 those 8 further
//     c [16, 8]   numbers 0..3: row l/4 and columns 2(l%4), +1; then row l/4 + 8
#pragma once

#include "kernels/cuda/elements.h"

namespace ROPEWALK_CUDA {

// Two neighbours; the first in the lower half.
__device__ __forceinline__ uint32_t bf16_pair(float first, float second) {
#ifdef __CUDACC__
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
#else
  return static_cast<uint32_t>(rounded<Bf16>(first).bits) | static_cast<uint32_t>(rounded<Bf16>(second).bits) << 16;
#endif
}

// Sums as the left side of a product: of two parts of 8 columns, a [16, 16].
__device__ __forceinline__ void round_to_left(uint32_t (&a)[4], const float (&left)[4], const float (&right)[4]) {
  for (int pair = 0; pair < 2; ++pair) a[pair] = bf16_pair(left[2 * pair], left[2 * pair + 1]);
  for (int pair = 0; pair < 2; ++pair) a[2 + pair] = bf16_pair(right[2 * pair], right[2 * pair + 1]);
}
template <int kParts>
__device__ __forceinline__ void round_to_left(uint32_t (&a)[kParts / 2][4], const float (&c)[kParts][4]) {
  ROPEWALK_UNROLL
  for (int i = 0; i < kParts; i += 2) round_to_left(a[i / 2], c[i], c[i + 1]);
}

// c += a b
__device__ __forceinline__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#ifdef __CUDACC__
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
  simt::multiply_add(c, mine);
#endif
}

// A row of a matrix in shared memory: its address in bytes, to compute with.
#ifdef __CUDACC__
using RowAddress = uint32_t;
__device__ __forceinline__ RowAddress row_address(const Bf16* row) { return shared_address(row); }
#else
using RowAddress = uintptr_t;
inline RowAddress row_address(const Bf16* row) { return reinterpret_cast<RowAddress>(row); }
#endif

// Four 8 x 8 matrices of bf16 from shared memory; lane 8i + j gives the address of row j of matrix i, 16 aligned bytes.
// Register i of lane l: row l/4, columns 2(l%4), +1 of matrix i; transposed: column l/4, rows 2(l%4), +1.
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], RowAddress row) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
#else
  simt::load_matrices(r, reinterpret_cast<const void*>(row), false);
#endif
}
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&r)[4], RowAddress row) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
#else
  simt::load_matrices(r, reinterpret_cast<const void*>(row), true);
#endif
}

// 16 bytes from device to shared memory, or zeros where not `exists`, without waiting. What a thread has asked for up
// to commit() is one group; wait<n>() waits until at most its n newest groups are on their way.
__device__ __forceinline__ void copy_async(Bf16* shared, const Bf16* from, bool exists) {
#ifdef __CUDACC__
  const int bytes = exists ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(from), "r"(bytes)
               : "memory");
#else
  simt::copy_async(shared, from, exists);
#endif
}
__device__ __forceinline__ void commit() {
#ifdef __CUDACC__
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  simt::commit();
#endif
}
template <int n>
__device__ __forceinline__ void wait() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
#else
  simt::wait(n);
#endif
}

}  // namespace ROPEWALK_CUDA

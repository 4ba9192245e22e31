// A warp's products of small bf16 matrices, on tensor cores from compute capability 8.0 on, and the loads of their
// operands. Layouts: NVIDIA's PTX ISA, "mma.m16n8k16" and "ldmatrix". With i = l / 4 and j = 2 (l % 4), lane l holds:
//
//     a [16, 16]  register 0: row i, columns j, j + 1; register 1: row i + 8; registers 2, 3: the same, columns + 8
//     b [16, 8]   register 0: rows j, j + 1, column i; register 1: rows + 8
//     c [16, 8]   floats 0, 1: row i, columns j, j + 1; floats 2, 3: row i + 8
#pragma once

#include "kernels/cuda/elements.h"

namespace ROPEWALK_CUDA {

// Two adjacent elements, the first in the lower half.
__device__ __forceinline__ uint32_t bf16_pair(float first, float second) {
#ifdef __CUDACC__
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
#else
  return static_cast<uint32_t>(rounded<Bf16>(first).bits) | static_cast<uint32_t>(rounded<Bf16>(second).bits) << 16;
#endif
}

// Rounds two adjacent accumulators [16, 8] to bf16, as the operand a [16, 16] of another product.
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

// The address of a row in shared memory, in bytes, as an integer.
#ifdef __CUDACC__
using RowAddress = uint32_t;
__device__ __forceinline__ RowAddress row_address(const Bf16* row) { return shared_address(row); }
#else
using RowAddress = uintptr_t;
inline RowAddress row_address(const Bf16* row) { return reinterpret_cast<RowAddress>(row); }
#endif

// Loads four 8 x 8 matrices of bf16 from shared memory. Lane l passes the address of row l % 8 of matrix l / 8: 16
// bytes, aligned. With i and j as above, lane l gets in register m the elements (i, j), (i, j + 1) of matrix m;
// transposed, the elements (j, i), (j + 1, i).
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

// Issues an asynchronous copy of 16 bytes from device to shared memory, or of zeros if not `exists`. commit() closes a
// group of the copies that the thread has issued; wait<n>() waits until at most its n newest groups are in flight.
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

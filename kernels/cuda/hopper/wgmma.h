// A warpgroup's asynchronous products of bf16 matrices in shared memory (wgmma). A warpgroup is 128 threads: four
// warps, the first of which is a multiple of four. All its threads call these functions. NVIDIA's PTX ISA,
// "Asynchronous Warpgroup Level Matrix Instructions".
//
// Accumulators c [64, N]: each of the four warps holds 16 rows; c[i] holds columns 8i to 8i + 7, distributed over the
// lanes as described in tensor_core.h. Matrices in shared memory consist of panels, whose rows have 64 elements (128
// bytes), swizzled as described at TensorMap. A panel begins at a multiple of 1024 bytes.
#pragma once

#include <type_traits>

#include "kernels/cuda/hopper/barrier.h"

namespace ROPEWALK_CUDA {

inline constexpr int kWarpgroup = 128, kPanel = 64;  // threads; columns of a panel

// A matrix in shared memory ("Matrix Descriptor Format"): address, strides, 128-byte swizzle.
struct Operand {
  uint64_t bits;
};

// panel_bytes: the distance to the next panel, for operands wider than one panel
__device__ __forceinline__ Operand operand(const Bf16* tile, int panel_bytes) {
#ifdef __CUDACC__
  const uint64_t address = shared_address(tile);
#else
  const uint64_t address = simt::shared_address(tile);
#endif
  constexpr uint64_t kEightRows = 1024, kSwizzle128 = 1;
  return {(address & 0x3ffff) >> 4 | static_cast<uint64_t>(panel_bytes) >> 4 << 16 | kEightRows >> 4 << 32 |
          kSwizzle128 << 62};
}
// K-major: the inner dimension runs along the rows of one panel; 16 elements of it are 32 bytes (for advanced()). The
// hardware ignores the distance to the next panel.
__device__ __forceinline__ Operand rows_operand(const Bf16* tile) { return operand(tile, 16); }
// MN-major (transposed): the inner dimension runs from row to row; 16 rows are 2048 bytes. A panel has 64 elements of
// the outer dimension.
__device__ __forceinline__ Operand columns_operand(const Bf16* tile, int panel_bytes) {
  return operand(tile, panel_bytes);
}
// The operand that begins `bytes` later in shared memory.
__device__ __forceinline__ Operand advanced(Operand operand, int bytes) {
  return {operand.bits + static_cast<uint64_t>(bytes >> 4)};
}

// Needed before the first product, and again when registers that a product reads or accumulates into have been touched.
__device__ __forceinline__ void fence_operands() {
#ifdef __CUDACC__
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#else
  simt::fence_operands();
#endif
}
// Closes a group of the products issued so far.
__device__ __forceinline__ void commit_products() {
#ifdef __CUDACC__
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
  simt::commit_products();
#endif
}
// Waits until at most the n newest groups are in flight. Only then may the accumulators of the older groups be touched,
// and their operands be overwritten.
template <int n>
__device__ __forceinline__ void wait_products() {
#ifdef __CUDACC__
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(n) : "memory");
#else
  simt::wait_products(n);
#endif
}
// A compiler barrier: no access to these registers is moved across this point.
template <typename T, int kParts, int n>
__device__ __forceinline__ void pin([[maybe_unused]] T (&registers)[kParts][n]) {
#ifdef __CUDACC__
  ROPEWALK_UNROLL
  for (int part = 0; part < kParts; ++part) ROPEWALK_UNROLL
  for (int i = 0; i < n; ++i)
    if constexpr (std::is_integral_v<T>)
      asm volatile("" : "+r"(registers[part][i])::"memory");
    else
      asm volatile("" : "+f"(registers[part][i])::"memory");
#endif
}

#ifdef __CUDACC__
// For inline assembly: OF lists the registers of c as operands, SUMS names them in the instruction's text.
#define ROPEWALK_OF_8(i) "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])
#define ROPEWALK_OF_32(i) ROPEWALK_OF_8(i), ROPEWALK_OF_8(i + 1), ROPEWALK_OF_8(i + 2), ROPEWALK_OF_8(i + 3)
#define ROPEWALK_OF_64 ROPEWALK_OF_32(0), ROPEWALK_OF_32(4)
#define ROPEWALK_OF_128 ROPEWALK_OF_64, ROPEWALK_OF_32(8), ROPEWALK_OF_32(12)
#define ROPEWALK_SUMS_64                                                                                \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26," \
  "%27,%28,%29,%30,%31}"
#define ROPEWALK_SUMS_128                                                                                \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,"  \
  "%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51," \
  "%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}"
#endif

// Issues c [64, N] = a [64, 16] b [16, N], or += if `add`. An operand is transposed if it is a columns_operand, whose
// inner dimension runs from row to row.
template <int N, bool left_transposed, bool right_transposed>
__device__ __forceinline__ void multiply_async(float (&c)[N / 8][4], Operand a, Operand b, bool add) {
  static_assert(N == 64 || N == 128);
#ifdef __CUDACC__
  if constexpr (N == 64)
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " ROPEWALK_SUMS_64 ", %32, %33, p, 1, 1, %35, %36;\n}"
        : ROPEWALK_OF_64
        : "l"(a.bits), "l"(b.bits), "r"(static_cast<int>(add)), "n"(static_cast<int>(left_transposed)),
          "n"(static_cast<int>(right_transposed)));
  else
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " ROPEWALK_SUMS_128 ", %64, %65, p, 1, 1, %67, %68;\n}"
        : ROPEWALK_OF_128
        : "l"(a.bits), "l"(b.bits), "r"(static_cast<int>(add)), "n"(static_cast<int>(left_transposed)),
          "n"(static_cast<int>(right_transposed)));
#else
  simt::multiply_async(&c[0][0], N, a.bits, left_transposed, b.bits, right_transposed, add);
#endif
}
// The same with a in registers, laid out in each warp as in tensor_core.h. They must not be touched until the product
// is complete.
template <int N, bool right_transposed>
__device__ __forceinline__ void multiply_async(float (&c)[N / 8][4], const uint32_t (&a)[4], Operand b, bool add) {
  static_assert(N == 64 || N == 128);
#ifdef __CUDACC__
  if constexpr (N == 64)
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " ROPEWALK_SUMS_64
        ", {%32,%33,%34,%35}, %36, p, 1, 1, %38;\n}"
        : ROPEWALK_OF_64
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.bits), "r"(static_cast<int>(add)),
          "n"(static_cast<int>(right_transposed)));
  else
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " ROPEWALK_SUMS_128
        ", {%64,%65,%66,%67}, %68, p, 1, 1, %70;\n}"
        : ROPEWALK_OF_128
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.bits), "r"(static_cast<int>(add)),
          "n"(static_cast<int>(right_transposed)));
#else
  simt::multiply_async(&c[0][0], N, a, b.bits, right_transposed, add);
#endif
}

#ifdef __CUDACC__
#undef ROPEWALK_OF_8
#undef ROPEWALK_OF_32
#undef ROPEWALK_OF_64
#undef ROPEWALK_OF_128
#undef ROPEWALK_SUMS_64
#undef ROPEWALK_SUMS_128
#endif

}  // namespace ROPEWALK_CUDA

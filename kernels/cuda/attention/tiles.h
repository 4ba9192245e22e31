// Attention's tiles in shared memory, and a warp's products of them by mma.m16n8k16. Tiles of rows of K numbers lie in
// shared memory with the 16-byte pieces of row i exchanged by i mod 8 (of rows of 32 numbers, two of which the banks
// hold at once, by i/2 mod 4), so that neither rows nor columns of pieces meet in one bank.
#pragma once

#include "kernels/cuda/attention/geometry.h"
#include "kernels/cuda/block.h"
#include "kernels/cuda/tensor_core.h"

namespace ROPEWALK_CUDA {

// How the portable kernels are cut, for head size K. (A form for one kind of device has its own.)
template <int K>
struct PortableTiles {
  static constexpr int kColumns = K;
  static constexpr int kWarpRows = 16;  // of what is computed, a warp's
  static constexpr int kWarps = 4, kThreads = kWarps * kWarp;
  static constexpr int kRows = kWarpRows * kWarps;
  static constexpr int kKeys = 64;
  // Rows that a tile of keys meets at a time in the backward: fewer than kRows, as its two sums of K numbers a key fill
  // the registers.
  static constexpr int kMetRows = 32;
};

// Where number `column`, a multiple of 8, of a row of a tile is.
template <int K>
__device__ __forceinline__ int in_tile(int row, int column) {
  constexpr int kPieces = K < 64 ? K / 8 : 8, kRowsOfAllBanks = K < 64 ? 64 / K : 1;
  return row * K + (((column / 8) ^ (row / kRowsOfAllBanks % kPieces)) * 8);
}

// Asks for a tile of `rows` rows; row i is at from(i), and there are `exist` of them, the others become 0. By all
// threads of the block.
template <typename Tiles, typename From>
__device__ __forceinline__ void copy_tile(Bf16* tile, int rows, int exist, const From& from) {
  constexpr int kPieces = Tiles::kColumns / 8;
  for (int i = static_cast<int>(threadIdx.x); i < rows * kPieces; i += Tiles::kThreads) {
    const int row = i / kPieces, column = i % kPieces * 8;
    copy_async(tile + in_tile<Tiles::kColumns>(row, column), from(row < exist ? row : 0) + column, row < exist);
  }
}

// Asks for the tiles of keys and values from u on.
template <typename Tiles>
__device__ __forceinline__ void copy_keys(const AttentionShape& s, int64_t g, int64_t u, const Bf16* k, const Bf16* v,
                                          Bf16* k_tile, Bf16* v_tile) {
  constexpr int K = Tiles::kColumns;
  const int exist = keys_from(s, u, Tiles::kKeys);
  copy_tile<Tiles>(k_tile, Tiles::kKeys, exist, [&](int row) { return k + ((u + row) * s.G + g) * K; });
  copy_tile<Tiles>(v_tile, Tiles::kKeys, exist, [&](int row) { return v + ((u + row) * s.G + g) * K; });
}

// The left side of a product: rows [row, row + 16) and columns [column, column + 16) of a tile.
template <int K>
__device__ __forceinline__ void load_left(uint32_t (&a)[4], const Bf16* tile, int row, int column) {
  const int matrix = lane() / 8;
  load_matrices(a, tile + in_tile<K>(row + matrix % 2 * 8 + lane() % 8, column + matrix / 2 * 8));
}
// The same where the rows of the product are columns of the tile, and the inner dimension its rows.
template <int K>
__device__ __forceinline__ void load_left_transposed(uint32_t (&a)[4], const Bf16* tile, int row, int column) {
  const int matrix = lane() / 8;
  load_matrices_transposed(a, tile + in_tile<K>(row + matrix / 2 * 8 + lane() % 8, column + matrix % 2 * 8));
}
// The right side for 16 columns of the product, which are rows [row, row + 16) of the tile; the inner dimension is the
// tile's columns [column, column + 16). Registers 0, 1 are of the first 8, 2, 3 of the others.
template <int K>
__device__ __forceinline__ void load_right(uint32_t (&b)[4], const Bf16* tile, int row, int column) {
  const int matrix = lane() / 8;
  load_matrices(b, tile + in_tile<K>(row + matrix / 2 * 8 + lane() % 8, column + matrix % 2 * 8));
}
// The same where the columns of the product are columns of the tile, and the inner dimension its rows.
template <int K>
__device__ __forceinline__ void load_right_transposed(uint32_t (&b)[4], const Bf16* tile, int row, int column) {
  const int matrix = lane() / 8;
  load_matrices_transposed(b, tile + in_tile<K>(row + matrix % 2 * 8 + lane() % 8, column + matrix / 2 * 8));
}

// c [16, 8 kParts] += a b for 16 of the inner dimension; load(b, column) brings b's columns [column, column + 16)
template <int kParts, typename Load>
__device__ __forceinline__ void add_columns(float (&c)[kParts][4], const uint32_t (&a)[4], const Load& load) {
  uint32_t b[4];
  ROPEWALK_UNROLL
  for (int part = 0; part < kParts; part += 2) {
    load(b, part * 8);
    multiply_add(c[part], a, b[0], b[1]);
    multiply_add(c[part + 1], a, b[2], b[3]);
  }
}

// c [16, kColumns] = rows [row, row + 16) of `left` times the first kColumns rows of `right`, over K
template <int K, int kColumns>
__device__ __forceinline__ void multiply_tiles(float (&c)[kColumns / 8][4], const Bf16* left, int row,
                                               const Bf16* right) {
  for (auto& part : c) part[0] = part[1] = part[2] = part[3] = 0;
  ROPEWALK_UNROLL
  for (int k = 0; k < K; k += 16) {
    uint32_t a[4];
    load_left<K>(a, left, row, k);
    add_columns(c, a, [&](uint32_t(&b)[4], int column) { load_right<K>(b, right, column, k); });
  }
}

// c [16, K] += p [16, kInner], rounded to bf16, times the first kInner rows of `right`
template <int K, int kInner>
__device__ __forceinline__ void add_product(float (&c)[K / 8][4], const float (&p)[kInner / 8][4], const Bf16* right) {
  ROPEWALK_UNROLL
  for (int i = 0; i < kInner; i += 16) {
    const float(&low)[4] = p[i / 8], (&high)[4] = p[i / 8 + 1];
    const uint32_t a[4] = {bf16_pair(low[0], low[1]), bf16_pair(low[2], low[3]), bf16_pair(high[0], high[1]),
                           bf16_pair(high[2], high[3])};
    add_columns(c, a, [&](uint32_t(&b)[4], int column) { load_right_transposed<K>(b, right, i, column); });
  }
}

// to [2] += factor * (first, second)
__device__ __forceinline__ void add_pair(float* to, float factor, float first, float second) {
  Pack<float, 2> pair = load<2>(to);
  pair.values[0] += factor * first;
  pair.values[1] += factor * second;
  store(pair, to);
}

}  // namespace ROPEWALK_CUDA

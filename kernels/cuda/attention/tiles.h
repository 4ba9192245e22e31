// Attention's tiles in shared memory, and a warp's products of them by mma.m16n8k16. A tile has rows of K elements, 64
// or 128. It is XOR-swizzled: within each 128 bytes of row i, 16-byte piece p is stored at p ^ (i mod 8), so that
// neither a row nor a column of pieces has bank conflicts. Rows 16 apart are swizzled alike: a thread computes one
// address, from which all others differ by constants.
#pragma once

#include "kernels/cuda/block.h"
#include "kernels/cuda/tensor_core.h"

namespace ROPEWALK_CUDA {

// Bytes of shared memory that a block can have on every device of compute capability 8.0 or later; 8.6 and 8.9 have the
// least.
inline constexpr int64_t kMostShared = 99 << 10;

// The index in a tile of element `column`, a multiple of 8, of row `row`.
template <int K>
__device__ __forceinline__ int in_tile(int row, int column) {
  return row * K + (column ^ row % 8 * 8);
}

// How the kThreads threads of a block copy a tile of kRows rows of K elements in pieces of 16 bytes. Each thread copies
// one piece of every kStep-th row. Threads write pieces in the order of shared memory; column() undoes the swizzle to
// find the piece to read.
template <int K, int kRows, int kThreads>
struct TileCopy {
  static constexpr int kPieces = K / 8, kStep = kThreads / kPieces, kCount = kRows / kStep;
  static_assert(kStep % 8 == 0 && kRows % kStep == 0);  // so that all rows of a thread are swizzled alike

  __device__ __forceinline__ static int first_row() { return static_cast<int>(threadIdx.x) / kPieces; }
  __device__ __forceinline__ static int column() {
    return in_tile<K>(first_row(), static_cast<int>(threadIdx.x) % kPieces * 8) - first_row() * K;
  }
  // Issues the copies; from(i) is the address of this thread's piece of row first_row() + i kStep. The tile's first
  // `exist` rows exist, the others become 0.
  template <typename From>
  __device__ __forceinline__ static void ask(Bf16* tile, int exist, const From& from) {
    Bf16* const to = tile + threadIdx.x * 8;
    const int left = exist - first_row();
    ROPEWALK_UNROLL
    for (int i = 0; i < kCount; ++i) copy_async(to + i * kStep * K, from(i), i * kStep < left);
  }
};

// A tile, which begins at a multiple of 128 bytes, as a warp reads it by ldmatrix. A 16 x 16 block is four 8 x 8
// matrices; lane l gives the address of row l % 8 of matrix l / 8. Matrix 0 is the upper left one and 3 the lower right
// one. In rows_first_, 1 is the lower left and 2 the upper right; in columns_first_, the reverse.
template <int K>
class Tile {
 public:
  __device__ __forceinline__ explicit Tile(const Bf16* tile) {
    const int matrix = lane() / 8, row = lane() % 8;
    rows_first_ = row_address(tile + in_tile<K>(matrix % 2 * 8 + row, matrix / 2 * 8));
    columns_first_ = row_address(tile + in_tile<K>(matrix / 2 * 8 + row, matrix % 2 * 8));
  }

  // The left operand of a product: rows [row, row + 16) and columns [column, column + 16) of the tile.
  __device__ __forceinline__ void load_left(uint32_t (&a)[4], int row, int column) const {
    load_matrices(a, moved(rows_first_, row, column));
  }
  // The same, transposed: rows of the operand are columns of the tile, and the inner dimension is its rows.
  __device__ __forceinline__ void load_left_transposed(uint32_t (&a)[4], int row, int column) const {
    load_matrices_transposed(a, moved(columns_first_, row, column));
  }
  // The right operand for 16 columns of the product, which are rows [row, row + 16) of the tile; the inner dimension is
  // the tile's columns [column, column + 16). Registers 0 and 1 hold the product's first 8 columns, 2 and 3 the others.
  __device__ __forceinline__ void load_right(uint32_t (&b)[4], int row, int column) const {
    load_matrices(b, moved(columns_first_, row, column));
  }
  // The same where columns of the product are columns of the tile, and the inner dimension is its rows.
  __device__ __forceinline__ void load_right_transposed(uint32_t (&b)[4], int row, int column) const {
    load_matrices_transposed(b, moved(rows_first_, row, column));
  }

  // Moves an address in the tile's first 16 x 16 block to the same place of the block at (row, column), both multiples
  // of 16.
  __device__ __forceinline__ static RowAddress moved(RowAddress first, int row, int column) {
    return (first ^ static_cast<RowAddress>(column % 64 * 2)) +
           static_cast<RowAddress>((column / 64 * 64 + row * K) * 2);
  }

 private:
  RowAddress rows_first_, columns_first_;
};

// The left operand [16, K] of products, kept in registers: rows [row, row + 16) of a tile.
template <int K>
struct LeftRows {
  uint32_t a[K / 16][4];
  __device__ __forceinline__ void load(const Tile<K>& tile, int row) {
    ROPEWALK_UNROLL
    for (int k = 0; k < K; k += 16) tile.load_left(a[k / 16], row, k);
  }
  __device__ __forceinline__ void operator()(uint32_t (&to)[4], int, int column) const {
    for (int i = 0; i < 4; ++i) to[i] = a[column / 16][i];
  }
};

// c [16 kParts, 8 kColumnParts] += a b over 16 of the inner dimension. load(b, column) loads 16 columns of b, from
// `column` on, which are used for all kParts parts of the rows.
template <int kParts, int kColumnParts, typename Load>
__device__ __forceinline__ void add_columns(float (&c)[kParts][kColumnParts][4], const uint32_t (&a)[kParts][4],
                                            const Load& load) {
  ROPEWALK_UNROLL
  for (int column = 0; column < kColumnParts; column += 2) {
    uint32_t b[4];
    load(b, column * 8);
    ROPEWALK_UNROLL
    for (int part = 0; part < kParts; ++part) {
      multiply_add(c[part][column], a[part], b[0], b[1]);
      multiply_add(c[part][column + 1], a[part], b[2], b[3]);
    }
  }
}

// c [16 kParts, 8 kColumnParts] += left times the transpose of rows [row, row + 8 kColumnParts) of `right`. The inner
// dimension is K. Calls left(a, part, k) to load columns [k, k + 16) of the part's 16 rows.
template <int K, int kParts, int kColumnParts, typename Left>
__device__ __forceinline__ void add_product_of_rows(float (&c)[kParts][kColumnParts][4], const Left& left,
                                                    const Tile<K>& right, int row) {
  ROPEWALK_UNROLL
  for (int k = 0; k < K; k += 16) {
    uint32_t a[kParts][4];
    ROPEWALK_UNROLL
    for (int part = 0; part < kParts; ++part) left(a[part], part, k);
    add_columns(c, a, [&](uint32_t(&b)[4], int column) { right.load_right(b, row + column, k); });
  }
}

// c [16 kParts, K] += p [16 kParts, 8 kInnerParts], rounded to bf16, times rows [row, row + 8 kInnerParts) of `right`
template <int K, int kParts, int kInnerParts>
__device__ __forceinline__ void add_product(float (&c)[kParts][K / 8][4], const float (&p)[kParts][kInnerParts][4],
                                            const Tile<K>& right, int row) {
  ROPEWALK_UNROLL
  for (int i = 0; i < kInnerParts; i += 2) {
    uint32_t a[kParts][4];
    ROPEWALK_UNROLL
    for (int part = 0; part < kParts; ++part) round_to_left(a[part], p[part][i], p[part][i + 1]);
    add_columns(c, a, [&](uint32_t(&b)[4], int column) { right.load_right_transposed(b, row + i * 8, column); });
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

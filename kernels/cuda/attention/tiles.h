// Attention's tiles in shared memory, and a warp's products of them by mma.m16n8k16. Tiles of rows of K numbers, 64 or
// 128, lie in shared memory with the 16-byte pieces of row i exchanged by i mod 8 in each 128 bytes, so that neither
// rows nor columns of pieces meet in one bank. Rows 16 apart are exchanged alike: a thread works out one place, and all
// others are fixed steps from it.
#pragma once

#include "kernels/cuda/block.h"
#include "kernels/cuda/tensor_core.h"

namespace ROPEWALK_CUDA {

// Of a block, on every device from compute capability 8.0 on: 8.6 and 8.9 have least.
inline constexpr int64_t kMostShared = 99 << 10;

// Where number `column`, a multiple of 8, of a row of a tile is.
template <int K>
__device__ __forceinline__ int in_tile(int row, int column) {
  return row * K + (column ^ row % 8 * 8);
}

// How the kThreads threads of a block copy a tile of kRows rows of K numbers, in pieces of 16 bytes: each has one
// column of rows kStep apart. The tile's pieces go to threads in order; which piece of its row each is, the exchange
// tells.
template <int K, int kRows, int kThreads>
struct TileCopy {
  static constexpr int kPieces = K / 8, kStep = kThreads / kPieces, kCount = kRows / kStep;
  static_assert(kStep % 8 == 0 && kRows % kStep == 0);  // so that all pieces of a thread are exchanged alike

  __device__ __forceinline__ static int first_row() { return static_cast<int>(threadIdx.x) / kPieces; }
  __device__ __forceinline__ static int column() {
    return in_tile<K>(first_row(), static_cast<int>(threadIdx.x) % kPieces * 8) - first_row() * K;
  }
  // Asks for the tile; what this thread has of row first_row() + i kStep is at from(i). There are `exist` rows, the
  // others become 0.
  template <typename From>
  __device__ __forceinline__ static void ask(Bf16* tile, int exist, const From& from) {
    Bf16* const to = tile + threadIdx.x * 8;
    const int left = exist - first_row();
    ROPEWALK_UNROLL
    for (int i = 0; i < kCount; ++i) copy_async(to + i * kStep * K, from(i), i * kStep < left);
  }
};

// A tile as a warp reads it, which begins at a multiple of 128 bytes. 16 x 16 numbers are four 8 x 8 matrices; this
// lane names a row of one of them. Of the four, the odd ones are the lower ones and the latter two those on the right
// (rows_first), or the other way round.
template <int K>
class Tile {
 public:
  __device__ __forceinline__ explicit Tile(const Bf16* tile) {
    const int matrix = lane() / 8, row = lane() % 8;
    rows_first_ = row_address(tile + in_tile<K>(matrix % 2 * 8 + row, matrix / 2 * 8));
    columns_first_ = row_address(tile + in_tile<K>(matrix / 2 * 8 + row, matrix % 2 * 8));
  }

  // The left side of a product: rows [row, row + 16) and columns [column, column + 16) of the tile.
  __device__ __forceinline__ void load_left(uint32_t (&a)[4], int row, int column) const {
    load_matrices(a, moved(rows_first_, row, column));
  }
  // The same where the rows of the product are columns of the tile, and the inner dimension its rows.
  __device__ __forceinline__ void load_left_transposed(uint32_t (&a)[4], int row, int column) const {
    load_matrices_transposed(a, moved(columns_first_, row, column));
  }
  // The right side for 16 columns of the product, which are rows [row, row + 16) of the tile; the inner dimension is
  // the tile's columns [column, column + 16). Registers 0, 1 are of the first 8, 2, 3 of the others.
  __device__ __forceinline__ void load_right(uint32_t (&b)[4], int row, int column) const {
    load_matrices(b, moved(columns_first_, row, column));
  }
  // The same where the columns of the product are columns of the tile, and the inner dimension its rows.
  __device__ __forceinline__ void load_right_transposed(uint32_t (&b)[4], int row, int column) const {
    load_matrices_transposed(b, moved(rows_first_, row, column));
  }

  // Where what is at `first` in the first 16 x 16 numbers is in those from (row, column) on, both multiples of 16.
  __device__ __forceinline__ static RowAddress moved(RowAddress first, int row, int column) {
    return (first ^ static_cast<RowAddress>(column % 64 * 2)) +
           static_cast<RowAddress>((column / 64 * 64 + row * K) * 2);
  }

 private:
  RowAddress rows_first_, columns_first_;
};

// The left side [16, K] of products, kept in registers: rows [row, row + 16) of a tile.
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

// c [16 kParts, 8 kColumnParts] += a b for 16 of the inner dimension; load(b, column) brings b's columns
// [column, column + 16), which all parts of the rows share.
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

// c += left times rows of `right` from `row` on, as many as c has columns, over K; left(a, part, k) brings columns
// [k, k + 16) of the part's 16 rows.
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

// c [16 kParts, K] += p [16 kParts, 8 kInnerParts], rounded to bf16, times rows of `right` from `row` on
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

// What attention's kernels have in common. A block of rows (t, r), query t of the r-th of the R heads that read one key
// head, meets the keys in tiles of 64; each warp has 16 rows of what it computes. Tiles of rows of K numbers lie in
// shared memory with the 16-byte pieces of row i exchanged by i mod 8 (of rows of 32 numbers, two of which the banks
// hold at once, by i/2 mod 4), so that neither rows nor columns of pieces meet in one bank.
#pragma once

#include "kernels/cuda/block.h"
#include "kernels/cuda/operations.h"
#include "kernels/cuda/tensor_core.h"
#include "kernels/range.h"

namespace ROPEWALK_CUDA {

inline constexpr int kWarpRows = 16;
inline constexpr int kWarps = 4;
inline constexpr int kTileRows = kWarpRows * kWarps;
inline constexpr int kTileKeys = 64;
inline constexpr float kLog2e = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

// The rows of the key piece, counted from its start, that query t sees: AttentionMask::of_query of
// kernels/attention_mask.h.
__device__ __forceinline__ Range keys_of_query(const AttentionShape& s, int64_t t) {
  const int64_t i = s.q_begin + t;
  int64_t first = s.document_begin ? s.document_begin[t] : 0;
  if (s.window > 0 && i + 1 - s.window > first) first = i + 1 - s.window;
  const auto clamped = [&](int64_t x) { return x < 0 ? 0 : x > s.U ? s.U : x; };
  return {clamped(first - s.k_begin), clamped(i + 1 - s.k_begin)};
}

// The queries among which all are that see any of `exist` keys from u on. Those before are too early; those behind have
// windows or documents that begin later.
__device__ __forceinline__ Range queries_of_keys(const AttentionShape& s, int64_t u, int exist) {
  const int64_t first = s.k_begin + u, last = first + exist - 1;
  Range queries{first > s.q_begin ? first - s.q_begin : 0, s.T};
  if (s.window > 0 && last + s.window - s.q_begin < s.T) queries.end = last + s.window - s.q_begin;
  if (!s.document_begin) return queries;
  int64_t inside = queries.begin;  // documents begin later and later: before here all begin by the last key
  while (inside < queries.end) {
    const int64_t middle = (inside + queries.end) / 2;
    if (s.document_begin[middle] > last)
      queries.end = middle;
    else
      inside = middle + 1;
  }
  return queries;
}

// Rows (t, r) from query t0 on, as many as fit into kMost of them.
template <int kMost>
struct Rows {
  __device__ Rows(const AttentionShape& s, int64_t t0_)
      : R(static_cast<int>(s.H / s.G)),
        t0(t0_),
        queries(static_cast<int>(s.T - t0_ < kMost / R ? s.T - t0_ : kMost / R)) {}
  int R;
  int64_t t0;
  int queries;
  __device__ int count() const { return queries * R; }
  __device__ int64_t query(int row) const { return t0 + row / R; }
  // Of row (t, r) in [T, H].
  __device__ int64_t at(const AttentionShape& s, int64_t g, int row) const {
    return query(row) * s.H + g * R + row % R;
  }
};

// What a row sees; nothing where there is no such row.
template <int kMost>
__device__ __forceinline__ Range keys_of_row(const AttentionShape& s, const Rows<kMost>& rows, int row) {
  return row < rows.count() ? keys_of_query(s, rows.query(row)) : Range{};
}

// Where number `column`, a multiple of 8, of a row of a tile is.
template <int K>
__device__ __forceinline__ int in_tile(int row, int column) {
  constexpr int kPieces = K < 64 ? K / 8 : 8, kRowsOfAllBanks = K < 64 ? 64 / K : 1;
  return row * K + (((column / 8) ^ (row / kRowsOfAllBanks % kPieces)) * 8);
}

// Asks for a tile of `rows` rows; row i is at from(i), and there are `exist` of them, the others become 0. By all
// threads of the block.
template <int K, typename From>
__device__ __forceinline__ void copy_tile(Bf16* tile, int rows, int exist, const From& from) {
  constexpr int kPieces = K / 8;
  for (int i = static_cast<int>(threadIdx.x); i < rows * kPieces; i += kWarps * kWarp) {
    const int row = i / kPieces, column = i % kPieces * 8;
    copy_async(tile + in_tile<K>(row, column), from(row < exist ? row : 0) + column, row < exist);
  }
}

// How many of the kTileKeys keys from u on there are.
__device__ __forceinline__ int keys_from(const AttentionShape& s, int64_t u) {
  return static_cast<int>(s.U - u < kTileKeys ? s.U - u : kTileKeys);
}

// Asks for the tiles of keys and values from u on.
template <int K>
__device__ __forceinline__ void copy_keys(const AttentionShape& s, int64_t g, int64_t u, const Bf16* k, const Bf16* v,
                                          Bf16* k_tile, Bf16* v_tile) {
  copy_tile<K>(k_tile, kTileKeys, keys_from(s, u), [&](int row) { return k + ((u + row) * s.G + g) * K; });
  copy_tile<K>(v_tile, kTileKeys, keys_from(s, u), [&](int row) { return v + ((u + row) * s.G + g) * K; });
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

// Calls f(std::integral_constant<int, K>{}) for the K that there are.
template <typename F>
void with_head_size(int64_t K, F&& f) {
  if (K == 64)
    f(std::integral_constant<int, 64>{});
  else
    f(std::integral_constant<int, 128>{});
}

}  // namespace ROPEWALK_CUDA

// A block of rows (t, r) that visits, tile by tile, the keys that any of its rows sees. Shared by the forward and the
// kernel of dq.
#pragma once

#include "kernels/cuda/attention/geometry.h"
#include "kernels/cuda/attention/registers.h"
#include "kernels/cuda/attention/tiles.h"

namespace ROPEWALK_CUDA {

// Tile sizes. A warp has kParts_ times 16 rows, and uses each key that it loads for all of them. A key tile has kKeys_
// keys. Shared memory holds kStages_ key tiles with their values, all but one of them in flight. For the whole kernel,
// it also holds kLefts_ tiles of the block's own rows (q, and do in the backward). kBlocks_ blocks share an SM.
template <int K_, int kParts_, int kKeys_, int kStages_, int kBlocks_, int kLefts_>
struct RowTiles {
  static constexpr int K = K_, kParts = kParts_, kKeys = kKeys_, kStages = kStages_, kBlocks = kBlocks_;
  static constexpr int kWarps = 4, kThreads = kWarps * kWarp;
  static constexpr int kWarpRows = 16 * kParts, kRows = kWarpRows * kWarps;
  static constexpr int kLeft = kRows * K, kKey = kKeys * K;  // elements of a tile
  static constexpr int kTiles = kLefts_ * kLeft + 2 * kStages * kKey;
  static constexpr int64_t kBytes = kTiles * int64_t{sizeof(Bf16)} + (2 * kRows + 2) * int64_t{sizeof(int)};
  static_assert(kBytes <= kMostShared);
};

// In shared memory: the range of keys that each row sees, empty if there is no such row, and the range that all rows
// see.
template <typename Tiles>
struct RowBounds {
  Pack<int, 2> row[Tiles::kRows], all;
};

// Indices of keys are 32-bit: no device's memory holds 2^31 of them.
template <typename Tiles>
class RowBlock {
 public:
  static constexpr int K = Tiles::K, kKeys = Tiles::kKeys;

  __device__ __forceinline__ explicit RowBlock(const AttentionShape& s) : s_(s) {
    const Ends seen = seen_by_ends();
    begin_ = static_cast<int>(seen.first.begin) / kKeys * kKeys;
    end_ = seen.first.begin < seen.last.end ? static_cast<int>(seen.last.end) : begin_;
  }

  __device__ bool empty() const { return begin_ == end_; }
  // Rows in reverse order of blockIdx.x, so that the blocks that see the most keys start first.
  __device__ __forceinline__ Rows<Tiles::kRows> rows() const {
    const int per_block = Tiles::kRows / (static_cast<int>(s_.H) / static_cast<int>(s_.G));
    const auto block = static_cast<int>(gridDim.x) - 1 - worked_out_here(static_cast<int>(blockIdx.x));
    return {s_, int64_t{block} * per_block};
  }
  // The row, within the block, of this thread's accumulators 2i and 2i + 1 (i: 0 or 1) of 16-row part `part`.
  __device__ __forceinline__ int row(int part, int i) const {
    return warp() * Tiles::kWarpRows + 16 * part + 8 * i + lane() / 4;
  }

  // Issues the copy of the block's rows of x [T, H, K] into a tile.
  __device__ __forceinline__ void copy_rows(Bf16* tile, const Bf16* x) const {
    using Copy = TileCopy<K, Tiles::kRows, Tiles::kThreads>;
    const auto mine = rows();
    Copy::ask(tile, mine.count(), [&](int i) {
      return x + mine.at(s_, blockIdx.y, Copy::first_row() + i * Copy::kStep) * K + Copy::column();
    });
  }

  // sums += the warp's rows of `tile` times the transpose of rows [row, row + 8 kColumnParts) of `right`. The inner
  // dimension is K.
  template <int kColumnParts>
  __device__ __forceinline__ void add_product_of_rows(float (&sums)[Tiles::kParts][kColumnParts][4], const Bf16* tile,
                                                      const Tile<K>& right, int row) const {
    const Tile<K> mine(tile + worked_out_here(warp()) * Tiles::kWarpRows * K);
    ROPEWALK_CUDA::add_product_of_rows<K>(
        sums, [&](uint32_t(&a)[4], int part, int column) { mine.load_left(a, 16 * part, column); }, right, row);
  }

  // Calls f(u, tile) for each key tile, whose first key is u. `tile` holds its kKeys keys, followed by their values.
  // `tiles` is the shared memory for kStages of these. Copies issued earlier (copy_rows) are complete when f is called.
  template <typename F>
  __device__ __forceinline__ void each_tile(const Bf16* k, const Bf16* v, Bf16* tiles, RowBounds<Tiles>& bounds,
                                            const F& f) const {
    note_bounds(bounds);
    using Copy = TileCopy<K, kKeys, Tiles::kThreads>;
    const int64_t stride = s_.G * K;
    const auto ask = [&](int u, int stage) {
      if (u < end_) {
        Bf16* const to = tiles + stage * 2 * Tiles::kKey;
        const int exist = static_cast<int>(s_.U) - u;
        const int64_t from = (u + Copy::first_row()) * stride + (static_cast<int>(blockIdx.y) * K + Copy::column());
        Copy::ask(to, exist, [&](int i) { return k + from + i * Copy::kStep * stride; });
        Copy::ask(to + Tiles::kKey, exist, [&](int i) { return v + from + i * Copy::kStep * stride; });
      }
      commit();  // an empty group after the last tile, so that wait<kStages - 2>() still waits for the right one
    };
    for (int stage = 0; stage < Tiles::kStages - 1; ++stage) ask(begin_ + stage * kKeys, stage);
    int stage = 0;
    for (int u = begin_; u < end_; u += kKeys) {
      wait<Tiles::kStages - 2>();
      __syncthreads();  // all threads' copies of this tile are complete, and nobody reads the previous one any more
      ask(u + (Tiles::kStages - 1) * kKeys, stage == 0 ? Tiles::kStages - 1 : stage - 1);
      f(u, Tile<K>(tiles + stage * 2 * Tiles::kKey));
      stage = stage == Tiles::kStages - 1 ? 0 : stage + 1;
    }
  }

  // Applies the mask: sets to -inf the scores of keys that a row does not see. `score` is of the key tile from u on.
  template <int kColumnParts>
  __device__ __forceinline__ void hide(float (&score)[Tiles::kParts][kColumnParts][4], int u,
                                       const RowBounds<Tiles>& bounds) const {
    if (u >= bounds.all.values[0] && u + kKeys <= bounds.all.values[1]) return;
    const int row0 = worked_out_here(row(0, 0)), first = u + worked_out_here(lane()) % 4 * 2;
    ROPEWALK_UNROLL
    for (int part = 0; part < Tiles::kParts; ++part) {
      ROPEWALK_UNROLL
      for (int i = 0; i < 2; ++i) {
        const Pack<int, 2> seen = bounds.row[row0 + 16 * part + 8 * i];
        const int begin = seen.values[0] - first, end = seen.values[1] - first;
        ROPEWALK_UNROLL
        for (int column = 0; column < kColumnParts; ++column)
          for (int j = 0; j < 2; ++j)
            if ((8 * column + j < begin) | (8 * column + j >= end)) score[part][column][2 * i + j] = -INFINITY;
      }
    }
  }

 private:
  __device__ __forceinline__ void note_bounds(RowBounds<Tiles>& bounds) const {
    static_assert(Tiles::kRows % Tiles::kThreads == 0);
    const auto packed = [](int64_t begin, int64_t end) {
      return Pack<int, 2>{{static_cast<int>(begin), static_cast<int>(end)}};
    };
    const auto mine = rows();
    for (int first = 0; first < Tiles::kRows; first += Tiles::kThreads) {
      const int row = first + static_cast<int>(threadIdx.x);
      const Range seen = keys_of_row(s_, mine, row);
      bounds.row[row] = packed(seen.begin, seen.end);
    }
    const Ends seen = seen_by_ends();
    bounds.all = packed(seen.last.begin, seen.first.end);  // all threads write the same value
  }
  // The keys that the first and the last row see.
  struct Ends {
    Range first, last;
  };
  __device__ __forceinline__ Ends seen_by_ends() const {
    const auto mine = rows();
    return {keys_of_query(s_, mine.t0), keys_of_query(s_, mine.t0 + mine.queries - 1)};
  }

  const AttentionShape& s_;
  int begin_, end_;  // the keys that any row sees; begin_ is rounded down to a multiple of kKeys
};

}  // namespace ROPEWALK_CUDA

// A block of rows (t, r) that meets, tile by tile, the keys that any of its rows sees: what the forward and the
// backward's dq have in common.
#pragma once

#include "kernels/cuda/attention/geometry.h"
#include "kernels/cuda/attention/registers.h"
#include "kernels/cuda/attention/tiles.h"

namespace ROPEWALK_CUDA {

// How such a block is cut: kParts_ times 16 rows a warp, which share what the warp loads of keys; kKeys_ keys at a
// time, of which kStages_ tiles are in shared memory, all but one of them on their way; kBlocks_ blocks share an SM;
// kLefts_ tiles of the rows' own stay.
template <int K_, int kParts_, int kKeys_, int kStages_, int kBlocks_, int kLefts_>
struct RowTiles {
  static constexpr int K = K_, kParts = kParts_, kKeys = kKeys_, kStages = kStages_, kBlocks = kBlocks_;
  static constexpr int kWarps = 4, kThreads = kWarps * kWarp;
  static constexpr int kWarpRows = 16 * kParts, kRows = kWarpRows * kWarps;
  static constexpr int kLeft = kRows * K, kKey = kKeys * K;  // numbers in a tile
  static constexpr int kTiles = kLefts_ * kLeft + 2 * kStages * kKey;
  static constexpr int64_t kBytes = kTiles * int64_t{sizeof(Bf16)} + (2 * kRows + 2) * int64_t{sizeof(int)};
  static_assert(kBytes <= kMostShared);
};

// In shared memory: where the keys that each row sees begin and end, none where there is no such row; and those that
// all rows see.
template <typename Tiles>
struct RowBounds {
  Pack<int, 2> row[Tiles::kRows], all;
};

// Keys of the piece are counted in 32 bits: 2^31 of them fit into no device's memory.
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
  // The blocks that see the most keys begin first.
  __device__ __forceinline__ Rows<Tiles::kRows> rows() const {
    const int per_block = Tiles::kRows / (static_cast<int>(s_.H) / static_cast<int>(s_.G));
    const auto block = static_cast<int>(gridDim.x) - 1 - worked_out_here(static_cast<int>(blockIdx.x));
    return {s_, int64_t{block} * per_block};
  }
  // Of this thread, which has numbers 2i and 2i + 1 of each part's sums in its row i of two.
  __device__ __forceinline__ int row(int part, int i) const {
    return warp() * Tiles::kWarpRows + 16 * part + 8 * i + lane() / 4;
  }

  // Asks for these rows of x [T, H, K] as a tile.
  __device__ __forceinline__ void copy_rows(Bf16* tile, const Bf16* x) const {
    using Copy = TileCopy<K, Tiles::kRows, Tiles::kThreads>;
    const auto mine = rows();
    Copy::ask(tile, mine.count(), [&](int i) {
      return x + mine.at(s_, blockIdx.y, Copy::first_row() + i * Copy::kStep) * K + Copy::column();
    });
  }

  // sums += the warp's rows of a tile times rows of `right` from `row` on.
  template <int kColumnParts>
  __device__ __forceinline__ void add_product_of_rows(float (&sums)[Tiles::kParts][kColumnParts][4], const Bf16* tile,
                                                      const Tile<K>& right, int row) const {
    const Tile<K> mine(tile + worked_out_here(warp()) * Tiles::kWarpRows * K);
    ROPEWALK_CUDA::add_product_of_rows<K>(
        sums, [&](uint32_t(&a)[4], int part, int column) { mine.load_left(a, 16 * part, column); }, right, row);
  }

  // Calls f(u, tile) for the kKeys keys from u on, and behind them in the tile their values; such tiles begin at
  // `tiles`. What was asked for before has come.
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
      commit();  // of nothing behind the last tile, so that as many newer groups are on their way as before it
    };
    for (int stage = 0; stage < Tiles::kStages - 1; ++stage) ask(begin_ + stage * kKeys, stage);
    int stage = 0;
    for (int u = begin_; u < end_; u += kKeys) {
      wait<Tiles::kStages - 2>();
      __syncthreads();  // the tile is all here, and the one before it done with
      ask(u + (Tiles::kStages - 1) * kKeys, stage == 0 ? Tiles::kStages - 1 : stage - 1);
      f(u, Tile<K>(tiles + stage * 2 * Tiles::kKey));
      stage = stage == Tiles::kStages - 1 ? 0 : stage + 1;
    }
  }

  // Makes -inf of the scores, of keys from u on, that rows do not see.
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
    bounds.all = packed(seen.last.begin, seen.first.end);  // all write the same
  }
  // What the first and the last row see.
  struct Ends {
    Range first, last;
  };
  __device__ __forceinline__ Ends seen_by_ends() const {
    const auto mine = rows();
    return {keys_of_query(s_, mine.t0), keys_of_query(s_, mine.t0 + mine.queries - 1)};
  }

  const AttentionShape& s_;
  int begin_, end_;  // of what any row sees, from a whole tile on
};

}  // namespace ROPEWALK_CUDA

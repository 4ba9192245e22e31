// A block of rows (t, r) that meets, tile by tile, the keys that any of its rows sees: what the forward and the
// backward's dq have in common.
#pragma once

#include "kernels/cuda/attention/geometry.h"
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
  static constexpr int64_t kBytes = kTiles * int64_t{sizeof(Bf16)} + 2 * kRows * int64_t{sizeof(int)};
};

// Keys of the piece are counted in 32 bits: 2^31 of them fit into no device's memory.
template <typename Tiles>
class RowBlock {
 public:
  static constexpr int K = Tiles::K, kKeys = Tiles::kKeys;

  // The blocks that see the most keys begin first.
  __device__ __forceinline__ explicit RowBlock(const AttentionShape& s)
      : s_(s), g_(blockIdx.y), rows_(s, (int64_t{gridDim.x} - 1 - blockIdx.x) * (Tiles::kRows / (s.H / s.G))) {
    const Range first = keys_of_query(s, rows_.t0), last = keys_of_query(s, rows_.t0 + rows_.queries - 1);
    begin_ = static_cast<int>(first.begin) / kKeys * kKeys;
    end_ = first.begin < last.end ? static_cast<int>(last.end) : begin_;
    all_begin_ = static_cast<int>(last.begin);
    all_end_ = static_cast<int>(first.end);
  }

  __device__ bool empty() const { return begin_ == end_; }
  // Of this thread, which has numbers 2i and 2i + 1 of each part's sums in its row i of two.
  __device__ __forceinline__ int row(int part, int i) const {
    return warp() * Tiles::kWarpRows + 16 * part + 8 * i + lane() / 4;
  }
  __device__ __forceinline__ bool exists(int row) const { return row < rows_.count(); }
  __device__ __forceinline__ int64_t at(int row) const { return rows_.at(s_, g_, row); }  // in [T, H]

  // Asks for these rows of x [T, H, K] as a tile.
  __device__ __forceinline__ void copy_rows(Bf16* tile, const Bf16* x) const {
    using Copy = TileCopy<K, Tiles::kRows, Tiles::kThreads>;
    Copy::ask(tile, rows_.count(),
              [&](int i) { return x + at(Copy::first_row() + i * Copy::kStep) * K + Copy::column(); });
  }

  // sums += the warp's rows of a tile times rows of `right` from `row` on.
  template <int kColumnParts>
  __device__ __forceinline__ void add_product_of_rows(float (&sums)[Tiles::kParts][kColumnParts][4],
                                                      const Tile<K>& tile, const Tile<K>& right, int row) const {
    const int mine = warp() * Tiles::kWarpRows;
    ROPEWALK_CUDA::add_product_of_rows<K>(
        sums, [&](uint32_t(&a)[4], int part, int column) { tile.load_left(a, mine + 16 * part, column); }, right, row);
  }

  // Calls f(u, tile) for the kKeys keys from u on, and behind them in the tile their values; such tiles begin at
  // `tiles`. What was asked for before has come.
  template <typename F>
  __device__ __forceinline__ void each_tile(const Bf16* k, const Bf16* v, Bf16* tiles, int* bounds, const F& f) const {
    note_bounds(bounds);
    using Copy = TileCopy<K, kKeys, Tiles::kThreads>;
    const int64_t stride = s_.G * K;
    const auto ask = [&](int u, int stage) {
      if (u < end_) {
        Bf16* const to = tiles + stage * 2 * Tiles::kKey;
        const int exist = static_cast<int>(s_.U) - u;
        const int64_t from = (u + Copy::first_row()) * stride + g_ * K + Copy::column();
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
  __device__ __forceinline__ void hide(float (&score)[Tiles::kParts][kColumnParts][4], int u, const int* bounds) const {
    if (u >= all_begin_ && u + kKeys <= all_end_) return;
    ROPEWALK_UNROLL
    for (int part = 0; part < Tiles::kParts; ++part) {
      ROPEWALK_UNROLL
      for (int i = 0; i < 2; ++i) {
        const Pack<int, 2> seen = load<2>(bounds + 2 * row(part, i));
        const int first = u + lane() % 4 * 2, begin = seen.values[0] - first, end = seen.values[1] - first;
        ROPEWALK_UNROLL
        for (int column = 0; column < kColumnParts; ++column)
          for (int j = 0; j < 2; ++j)
            if ((8 * column + j < begin) | (8 * column + j >= end)) score[part][column][2 * i + j] = -INFINITY;
      }
    }
  }

 private:
  // Where the keys that each row sees begin and end, in shared memory; none where there is no such row.
  __device__ __forceinline__ void note_bounds(int* bounds) const {
    static_assert(Tiles::kRows % Tiles::kThreads == 0);
    for (int first = 0; first < Tiles::kRows; first += Tiles::kThreads) {
      const int row = first + static_cast<int>(threadIdx.x);
      const Range seen = keys_of_row(s_, rows_, row);
      store(Pack<int, 2>{{static_cast<int>(seen.begin), static_cast<int>(seen.end)}}, bounds + 2 * row);
    }
  }

  const AttentionShape& s_;
  const int64_t g_;
  const Rows<Tiles::kRows> rows_;
  int begin_, end_;          // of what any row sees, from a whole tile on
  int all_begin_, all_end_;  // of what all rows see
};

}  // namespace ROPEWALK_CUDA

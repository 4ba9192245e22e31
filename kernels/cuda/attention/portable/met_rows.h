// The rows (t, r) that meet a tile of keys, as they come through shared memory, tile by tile: q, do, and what is known
// of each.
#pragma once

#include "kernels/cuda/attention/geometry.h"
#include "kernels/cuda/attention/registers.h"
#include "kernels/cuda/attention/tiles.h"
#include "kernels/cuda/fast_math.h"

namespace ROPEWALK_CUDA {

// How the backward by tiles of keys is cut: 16 keys a warp, as its two sums of K numbers a key fill the registers;
// kRows rows at a time, of which kStep are computed at once; kStages tiles of them, all but one of which are on their
// way; kBlocks blocks share an SM. kWithQueries: dq as well.
template <int K_, bool kWithQueries>
struct KeyTiles {
  static constexpr int K = K_, kWarps = K == 64 || kWithQueries ? 4 : 8, kBlocks = 8 / kWarps;
  static constexpr int kThreads = kWarps * kWarp, kKeys = 16 * kWarps;
  static constexpr int kRows = 64, kStep = 16, kStages = kWarps == 8 ? 3 : 2;
  static constexpr int kRow = kRows * K, kKey = kKeys * K;  // numbers in a tile
};

// A row's lse in units of log 2, to take from scores: 0 where it sees nothing, as -inf less -inf is no number.
__device__ __forceinline__ float softmax_base(float lse) { return lse == -INFINITY ? 0 : kLog2e * lse; }

// Queries and keys are counted in 32 bits: 2^31 of them fit into no device's memory.
template <typename Tiles>
class MetRows {
  static constexpr int K = Tiles::K, kRows = Tiles::kRows;
  using Copy = TileCopy<K, kRows, Tiles::kThreads>;
  static_assert(kRows <= Tiles::kThreads);

 public:
  // Of the rows of a tile.
  struct alignas(16) Facts {
    float base[kRows], minus_delta[kRows];  // lse in units of log 2
    int16_t begin[kRows], end[kRows];       // of the tile's keys, those that it sees; where masked
    int masked;                             // not all rows see all keys
  };
  struct Shared {
    Facts facts[Tiles::kStages];
    int place[Copy::kStep][Copy::kCount];  // of row (i, j) = i + j kStep, from the first of head r = 0 on
    int all_begin, all_end;                // of the queries that see all keys
  };
  static constexpr int kTiles = 2 * Tiles::kStages * Tiles::kRow;  // numbers, q and do of each stage

  // Keys from u on, of which `exist` are there.
  __device__ __forceinline__ MetRows(const AttentionShape& s, int g, int u, int exist, Shared& shared)
      : s_(s), g_(g), u_(u), R_(static_cast<int>(s.H / s.G)), per_tile_(kRows / R_), shared_(shared) {
    const Range some = queries_of_keys(s, u, exist);
    begin_ = static_cast<int>(some.begin) / per_tile_ * per_tile_;
    end_ = some.begin < some.end ? static_cast<int>(some.end) : begin_;
  }

  __device__ bool empty() const { return begin_ >= end_; }
  // Rows of the tile from query t on.
  __device__ __forceinline__ int count(int t) const {
    const int queries = static_cast<int>(s_.T) - t;
    return (queries < per_tile_ ? queries : per_tile_) * R_;
  }
  // In [T, H], row r = 0 of query t; and from there on, of its tile's rows.
  __device__ __forceinline__ int64_t first(int t) const { return int64_t{t} * static_cast<int>(s_.H) + g_ * R_; }
  __device__ __forceinline__ int place(int row) const { return shared_.place[row % Copy::kStep][row / Copy::kStep]; }

  // Calls f(t, rows, facts) for the tiles from query t on: its kRows rows of q, and behind them those of do. Such tiles
  // begin at `tiles`.
  template <typename F>
  __device__ __forceinline__ void each_tile(const Bf16* q, const Bf16* d_o, const float* lse, const float* delta,
                                            Bf16* tiles, const F& f) const {
    const int mine = static_cast<int>(threadIdx.x);  // this thread's row, where there are so many
    if (mine < kRows)
      shared_.place[mine % Copy::kStep][mine / Copy::kStep] = static_cast<int>(mine / R_ * s_.H + mine % R_);
    const Range all = queries_of_all_keys(s_, u_, Tiles::kKeys);
    shared_.all_begin = static_cast<int>(all.begin);  // all write the same
    shared_.all_end = static_cast<int>(all.end);
    __syncthreads();

    float lse_coming = 0, delta_coming = 0;
    const auto ask = [&](int t, int stage) {
      if (t < end_) {
        const int exist = count(t);
        ask_for_tile(t, exist, q, d_o, tiles + stage * 2 * Tiles::kRow);
        if (mine < kRows) {
          const int64_t at = first(t) + place(worked_out_here(mine));
          lse_coming = mine < exist ? lse[at] : 0;
          delta_coming = mine < exist ? delta[at] : 0;
          note_bounds(t, mine < exist, shared_.facts[stage]);
        }
      }
      commit();  // of nothing behind the last tile, so that as many newer groups are on their way as before it
    };
    // lse and delta have time to come while a tile is computed.
    const auto note = [&](int stage) {
      const int row = worked_out_here(mine);
      if (row >= kRows) return;
      shared_.facts[stage].base[row] = softmax_base(lse_coming);
      shared_.facts[stage].minus_delta[row] = -delta_coming;
    };
    for (int stage = 0; stage < Tiles::kStages - 1; ++stage) {
      ask(begin_ + stage * per_tile_, stage);
      note(stage);
    }
    int stage = 0;
    for (int t = begin_; t < end_; t += per_tile_) {
      wait<Tiles::kStages - 2>();
      __syncthreads();  // the tile is all here, and the one before it done with
      const int free = stage == 0 ? Tiles::kStages - 1 : stage - 1;
      ask(t + (Tiles::kStages - 1) * per_tile_, free);
      f(t, Tile<K>(tiles + stage * 2 * Tiles::kRow), shared_.facts[stage]);
      note(free);
      stage = stage == Tiles::kStages - 1 ? 0 : stage + 1;
    }
  }

 private:
  __device__ __forceinline__ void ask_for_tile(int t, int exist, const Bf16* q, const Bf16* d_o, Bf16* to) const {
    constexpr int kTogether = Copy::kCount < 4 ? Copy::kCount : 4;  // what one instruction loads
    Pack<int, kTogether> places[Copy::kCount / kTogether];
    ROPEWALK_UNROLL
    for (int i = 0; i < Copy::kCount / kTogether; ++i)
      places[i] = load<kTogether>(shared_.place[Copy::first_row()] + i * kTogether);
    const int64_t from = first(t) * K;
    const auto of = [&](const Bf16* x) {
      const Bf16* const begin = kept_whole(x + from);
      return [&places, begin](int i) {
        return begin + (places[i / kTogether].values[i % kTogether] * K + Copy::column());
      };
    };
    Copy::ask(to, exist, of(q));
    Copy::ask(to + Tiles::kRow, exist, of(d_o));
  }
  // By the thread that has a row of the tile.
  __device__ __forceinline__ void note_bounds(int t, bool exists, Facts& facts) const {
    const int row = static_cast<int>(threadIdx.x);
    const bool masked = t < shared_.all_begin || t + per_tile_ > shared_.all_end;
    if (row == 0) facts.masked = masked;
    if (!masked) return;
    const Range seen = exists ? keys_of_query(s_, t + row / R_) : Range{};
    const auto in_tile = [&](int64_t key) {
      const int i = static_cast<int>(key) - u_;
      return static_cast<int16_t>(i < 0 ? 0 : i > Tiles::kKeys ? Tiles::kKeys : i);
    };
    facts.begin[row] = in_tile(seen.begin);
    facts.end[row] = in_tile(seen.end);
  }

  const AttentionShape& s_;
  const int g_, u_, R_, per_tile_;
  Shared& shared_;
  int begin_, end_;  // queries among which all are that see some of the keys, from a whole tile on
};

}  // namespace ROPEWALK_CUDA

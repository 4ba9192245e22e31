// The rows (t, r) that see any key of a key tile, streamed through shared memory in row tiles: q, do, and each row's
// lse, delta and mask bounds.
#pragma once

#include "kernels/cuda/attention/geometry.h"
#include "kernels/cuda/attention/registers.h"
#include "kernels/cuda/attention/tiles.h"
#include "kernels/cuda/fast_math.h"

namespace ROPEWALK_CUDA {

// Tile sizes of the backward kernels in which each block owns one key tile. A warp has 16 keys, because its
// accumulators of dk and dv, 2 K floats per key, fill the registers. A row tile has kRows rows, kStep of which are
// computed at once; shared memory holds kStages row tiles, all but one of them in flight. kBlocks blocks share an SM.
// kWithQueries: computes dq too.
template <int K_, bool kWithQueries>
struct KeyTiles {
  static constexpr int K = K_, kWarps = K == 64 || kWithQueries ? 4 : 8, kBlocks = 8 / kWarps;
  static constexpr int kThreads = kWarps * kWarp, kKeys = 16 * kWarps;
  static constexpr int kRows = 64, kStep = 16, kStages = kWarps == 8 ? 3 : 2;
  static constexpr int kRow = kRows * K, kKey = kKeys * K;  // elements of a tile
};

// A row's lse in base 2, to be subtracted from its scores; 0 if the row sees nothing, since -inf - (-inf) is NaN.
__device__ __forceinline__ float softmax_base(float lse) { return lse == -INFINITY ? 0 : kLog2e * lse; }

// Indices of queries and keys are 32-bit: no device's memory holds 2^31 of them.
template <typename Tiles>
class MetRows {
  static constexpr int K = Tiles::K, kRows = Tiles::kRows;
  using Copy = TileCopy<K, kRows, Tiles::kThreads>;
  static_assert(kRows <= Tiles::kThreads);

 public:
  // Per row of a row tile.
  struct alignas(16) Facts {
    float base[kRows], minus_delta[kRows];  // base: softmax_base(lse)
    int16_t begin[kRows], end[kRows];       // the key tile's keys that the row sees; set only if masked
    int masked;                             // whether some row of the tile does not see all keys, or does not exist
  };
  struct Shared {
    Facts facts[Tiles::kStages];
    // [i][j]: the index in [T, H] of the tile's row i + j * Copy::kStep, relative to row 0's.
    int place[Copy::kStep][Copy::kCount];
    int end;                 // of the queries that see any key of the key tile
    int all_begin, all_end;  // the queries that see all of them
  };
  static constexpr int kTiles = 2 * Tiles::kStages * Tiles::kRow;  // elements: q and do of each stage

  // The key tile is [u, u + exist) of KV head g.
  __device__ __forceinline__ MetRows(const AttentionShape& s, int g, int u, int exist, Shared& shared)
      : s_(s), g_(g), u_(u), R_(static_cast<int>(s.H / s.G)), per_tile_(kRows / R_), shared_(shared) {
    const Range some = queries_of_keys(s, u, exist);
    begin_ = static_cast<int>(some.begin) / per_tile_ * per_tile_;
    end_ = some.begin < some.end ? static_cast<int>(some.end) : begin_;
  }

  __device__ bool empty() const { return begin_ >= end_; }
  // The number of rows in the row tile whose first query is t.
  __device__ __forceinline__ int count(int t) const {
    const int queries = static_cast<int>(s_.T) - t;
    return (queries < per_tile_ ? queries : per_tile_) * R_;
  }
  // first(t): the index in [T, H] of row (t, 0). place(row): the index of row `row` of the tile that begins at t,
  // relative to first(t).
  __device__ __forceinline__ int64_t first(int t) const { return int64_t{t} * static_cast<int>(s_.H) + g_ * R_; }
  __device__ __forceinline__ int place(int row) const { return shared_.place[row % Copy::kStep][row / Copy::kStep]; }

  // Calls f(t, rows, facts) for each row tile, whose first query is t. `rows` holds its kRows rows of q, followed by
  // its kRows rows of do. `tiles` is the shared memory for kStages of these.
  template <typename F>
  __device__ __forceinline__ void each_tile(const Bf16* q, const Bf16* d_o, const float* lse, const float* delta,
                                            Bf16* tiles, const F& f) const {
    const int mine = static_cast<int>(threadIdx.x);  // this thread's row, if < kRows
    if (mine < kRows)
      shared_.place[mine % Copy::kStep][mine / Copy::kStep] = static_cast<int>(mine / R_ * s_.H + mine % R_);
    const Range all = queries_of_all_keys(s_, u_, Tiles::kKeys);
    shared_.end = end_;  // all threads write the same values
    shared_.all_begin = static_cast<int>(all.begin);
    shared_.all_end = static_cast<int>(all.end);
    __syncthreads();

    float lse_coming = 0, delta_coming = 0;
    const auto ask = [&](int t, int stage) {
      if (t < shared_.end) {
        const int exist = count(t);
        ask_for_tile(t, exist, q, d_o, tiles + stage * 2 * Tiles::kRow);
        if (mine < kRows) {
          const int64_t at = first(t) + place(worked_out_here(mine));
          lse_coming = mine < exist ? lse[at] : 0;
          delta_coming = mine < exist ? delta[at] : 0;
          note_bounds(t, mine < exist, shared_.facts[stage]);
        }
      }
      commit();  // an empty group after the last tile, so that wait<kStages - 2>() still waits for the right one
    };
    // Called after a tile is computed, so that the loads of lse and delta overlap with it.
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
    for (int t = begin_; t < shared_.end; t += per_tile_) {
      wait<Tiles::kStages - 2>();
      __syncthreads();  // all threads' copies of this tile are complete, and nobody reads the previous one any more
      const int free = stage == 0 ? Tiles::kStages - 1 : stage - 1;
      ask(t + (Tiles::kStages - 1) * per_tile_, free);
      f(t, Tile<K>(tiles + stage * 2 * Tiles::kRow), shared_.facts[stage]);
      note(free);
      stage = stage == Tiles::kStages - 1 ? 0 : stage + 1;
    }
  }

 private:
  __device__ __forceinline__ void ask_for_tile(int t, int exist, const Bf16* q, const Bf16* d_o, Bf16* to) const {
    constexpr int kTogether = Copy::kCount < 4 ? Copy::kCount : 4;  // ints that one instruction loads
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
  // Called by one thread for each row of the tile.
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
  int begin_, end_;  // the queries that see any of the keys; begin_ is rounded down to the start of a row tile
};

}  // namespace ROPEWALK_CUDA

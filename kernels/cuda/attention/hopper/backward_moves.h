// The producer warps of the Hopper backward, which move data.
#pragma once

#include "kernels/cuda/attention/hopper/backward_tiles.h"
#include "kernels/cuda/fast_math.h"
#include "kernels/cuda/hopper/tensor_map.h"

namespace ROPEWALK_CUDA {

// By one thread: loads the keys and values, and q and do of each row tile.
template <int K>
__device__ __forceinline__ void load_tiles(const TensorMap& q_map, const TensorMap& k_map, const TensorMap& v_map,
                                           const TensorMap& do_map, const AttentionShape& s,
                                           BackwardShared<K>& shared) {
  using Tiles = BackwardTiles<K>;
  const KeyTile& tile = shared.tile;
  const int R = static_cast<int>(s.H / s.G), queries = queries_of_tile<Tiles::kRows>(s), head = tile.g * R;
  arrive_expecting(&shared.keys_full, 2 * Tiles::kKeys * K * sizeof(Bf16));
  for (int column = 0; column < K; column += kPanel) {
    copy_tile_async(shared.k + column * Tiles::kKeys, k_map, &shared.keys_full, {column, tile.g, tile.u});
    copy_tile_async(shared.v + column * Tiles::kKeys, v_map, &shared.keys_full, {column, tile.g, tile.u});
  }
  const uint32_t bytes = static_cast<uint32_t>(queries * R * K) * sizeof(Bf16);
  const auto load_rows = [&](const TensorMap& map, Bf16* rows, Barrier* full, int t) {
    arrive_expecting(full, bytes);
    for (int column = 0; column < K; column += kPanel)
      copy_tile_async(rows + column * Tiles::kRows, map, full, {column, head, t});
  };
  for (int i = 0; i < tile.rows.count(); ++i) {
    const auto [stage, parity] = RingPlace<Tiles::kStages>::of(i);
    const int t = tile.met(i) * queries;
    wait(&shared.q_empty[stage], parity ^ 1);
    load_rows(q_map, shared.q[stage], &shared.q_full[stage], t);
    wait(&shared.do_empty[stage], parity ^ 1);
    load_rows(do_map, shared.d_o[stage], &shared.do_full[stage], t);
  }
}

// By one warp: loads each row tile's lse and delta, and computes its mask bounds. The loads are issued before the wait
// for a free stage, so that they overlap with it.
template <int K>
__device__ __forceinline__ void load_facts(const AttentionShape& s, const BackwardOperands& x,
                                           BackwardShared<K>& shared) {
  using Tiles = BackwardTiles<K>;
  constexpr int kMine = Tiles::kRows / kWarp;
  const KeyTile& tile = shared.tile;
  const int R = static_cast<int>(s.H / s.G), queries = queries_of_tile<Tiles::kRows>(s), T = static_cast<int>(s.T);
  for (int i = 0; i < tile.rows.count(); ++i) {
    const auto [stage, parity] = RingPlace<Tiles::kStages>::of(i);
    const int t0 = tile.met(i) * queries, exist = (T - t0 < queries ? T - t0 : queries) * R;
    float lse[kMine], delta[kMine];
    ROPEWALK_UNROLL
    for (int j = 0; j < kMine; ++j) {
      const int row = lane() + j * kWarp;
      const int at = (t0 + row / R) * static_cast<int>(s.H) + tile.g * R + row % R;
      lse[j] = row < exist ? x.lse[at] : INFINITY;
      delta[j] = row < exist ? x.delta[at] : 0;
    }
    wait(&shared.q_empty[stage], parity ^ 1);
    RowFacts<Tiles::kRows>& facts = shared.facts[stage];
    ROPEWALK_UNROLL
    for (int j = 0; j < kMine; ++j) {
      facts.base[lane() + j * kWarp] = kLog2e * lse[j];
      facts.delta[lane() + j * kWarp] = delta[j];
    }
    if (!tile.whole.has(tile.met(i)))
      for (int row = lane(); row < Tiles::kRows; row += kWarp) {
        const TileRange seen = row < exist ? keys_in_tile(s, tile, t0 + row / R) : TileRange{};
        facts.begin[row] = seen.begin;
        facts.end[row] = seen.end;
      }
    arrive_as_warp(&shared.q_full[stage]);
  }
}

// dq += the block's part of it for each row tile, by bulk additions. Two threads call this, with `first` 0 and 1, and
// take row tiles alternately. If dq is added in a fixed order (Turns), another block may add to the same rows only when
// this block's addition is complete. A thread waits long for that, and the other handles the next row tile meanwhile.
template <int K>
__device__ __forceinline__ void add_dq(const TensorMap& dq_map, const AttentionShape& s, const Turns& turns, int first,
                                       BackwardShared<K>& shared) {
  using Tiles = BackwardTiles<K>;
  const KeyTile& tile = shared.tile;
  const int R = static_cast<int>(s.H / s.G), queries = queries_of_tile<Tiles::kRows>(s);
  for (int i = first; i < tile.rows.count(); i += 2) {
    const int number = tile.met(i), t = number * queries, place = number * static_cast<int>(s.G) + tile.g;
    const int turn = turns.are_kept() ? tiles_of_keys_before<Tiles::kKeys>(s, tile, t) : 0;
    wait(&shared.dq_full[i % 2], i / 2 % 2);
    if (turns.are_kept()) turns.await(place, turn);
    for (int column = 0; column < K; column += Tiles::kDqPanel)
      add_tile_async(dq_map, shared.dq + column * Tiles::kRows, {column, tile.g * R, t});
    commit_bulk();
    wait_bulk_read<0>();
    arrive(&shared.dq_empty);
    if (!turns.are_kept()) continue;
    wait_bulk<0>();
    turns.end(place);
  }
  wait_bulk<0>();
}

}  // namespace ROPEWALK_CUDA

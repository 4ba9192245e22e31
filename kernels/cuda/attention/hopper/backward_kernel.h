// Attention's backward as FlashAttention-3 has it (Shah et al., arXiv 2407.08608, section 3): a block has a tile of
// keys and values of one key head in shared memory and meets all rows (t, r) that see it, a tile of them at a time.
// What is computed is transposed: rows are keys. Five products a tile: S = k q^T, dP = v do^T, dv += P do, dk += dS q
// and dq = dS^T k.
//
// The block's warpgroups: one moves data, each of its first warps with a role of its own; two compute, 64 of the keys
// each, and half of dq each. Rows are met from the last to the first, see Turns.
#pragma once

#include "kernels/cuda/attention/hopper/backward_geometry.h"
#include "kernels/cuda/attention/hopper/turns.h"
#include "kernels/cuda/attention/online_softmax.h"
#include "kernels/cuda/block.h"
#include "kernels/cuda/hopper/tensor_map.h"
#include "kernels/cuda/hopper/wgmma.h"
#include "kernels/cuda/tensor_core.h"

namespace ROPEWALK_CUDA {

inline constexpr int kWarpgroup = 128;

template <int K>
struct BackwardTiles {
  static constexpr int kKeys = 128, kRows = 8192 / K;
  static constexpr int kComputing = 2;  // warpgroups
  static constexpr int kThreads = (1 + kComputing) * kWarpgroup;
  static constexpr int kStages = 2;
  static constexpr int kDqRow = K + 8;  // from a row of dq to the next: four rows of a pair each meet different banks
};

// Where a row of a tile of rows is masked, and what its scores are shifted by. Of rows that do not exist P is 0.
template <int kRows>
struct RowFacts {
  float base[kRows];  // lse in units of log 2
  float delta[kRows];
  int begin[kRows], end[kRows];  // of the tile's keys; only where the tile of rows is at an edge
};

template <int K>
struct BackwardShared {
  using Tiles = BackwardTiles<K>;
  // Panels of 64 columns, swizzled as TensorMap says.
  alignas(1024) Bf16 k[Tiles::kKeys * K];
  alignas(1024) Bf16 v[Tiles::kKeys * K];
  alignas(1024) Bf16 q[Tiles::kStages][Tiles::kRows * K];
  alignas(1024) Bf16 d_o[Tiles::kStages][Tiles::kRows * K];
  alignas(1024) Bf16 ds[Tiles::kStages][Tiles::kKeys * Tiles::kRows];  // rows are keys
  alignas(16) float dq[Tiles::kRows * Tiles::kDqRow];
  RowFacts<Tiles::kRows> facts[Tiles::kStages];
  Barrier keys_full;
  Barrier q_full[Tiles::kStages], q_empty[Tiles::kStages];  // of facts, too
  Barrier do_full[Tiles::kStages], do_empty[Tiles::kStages];
  Barrier dq_full, dq_empty;
  KeyTile tile;
};

struct BackwardOperands {
  const float *lse, *delta;
  float *dq, *dk, *dv;
  Turns turns;
  int section;  // key heads whose blocks are neighbours
};

// Number i of the stages' uses: its stage, and the parity of the stage's phase then.
struct Use {
  int stage;
  uint32_t parity;
};
template <int kStages>
__device__ __forceinline__ Use use_of(int i) {
  return {i % kStages, static_cast<uint32_t>(i / kStages % 2)};
}

// One arrival for a warp, whose threads are all done with what it is about.
__device__ __forceinline__ void arrive_as_warp(Barrier* barrier) {
  __syncwarp();
  if (lane() == 0) arrive(barrier);
}

// Rows [row, row + 16) and columns [column, column + 16) of a tile of rows of 64 numbers, swizzled, become what a warp
// has in registers as the left side of a product.
__device__ __forceinline__ void store_left(const uint32_t (&a)[4], Bf16* tile, int row, int column) {
#ifdef __CUDACC__
  const int to_row = row + lane() % 16, piece = column / 8 + lane() / 16;
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(
                   shared_address(tile + to_row * 64 + (piece ^ to_row % 8) * 8)),
               "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3])
               : "memory");
#else
  for (int i = 0; i < 4; ++i) {
    const int to_row = row + i % 2 * 8 + lane() / 4, piece = column / 8 + i / 2;
    const Pack<Bf16, 2> pair{{{static_cast<uint16_t>(a[i])}, {static_cast<uint16_t>(a[i] >> 16)}}};
    store(pair, tile + to_row * 64 + (piece ^ to_row % 8) * 8 + lane() % 4 * 2);
  }
#endif
}

// ---- the warps that move

template <int K>
__device__ __forceinline__ void load_tiles(const TensorMap& q_map, const TensorMap& k_map, const TensorMap& v_map,
                                           const TensorMap& do_map, const AttentionShape& s,
                                           BackwardShared<K>& shared) {
  using Tiles = BackwardTiles<K>;
  const KeyTile& tile = shared.tile;
  const int R = static_cast<int>(s.H / s.G), queries = Tiles::kRows / R, head = tile.g * R;
  arrive_expecting(&shared.keys_full, 2 * Tiles::kKeys * K * sizeof(Bf16));
  for (int column = 0; column < K; column += 64) {
    copy_tile_async(shared.k + column * Tiles::kKeys, k_map, &shared.keys_full, {column, tile.g, tile.u});
    copy_tile_async(shared.v + column * Tiles::kKeys, v_map, &shared.keys_full, {column, tile.g, tile.u});
  }
  const uint32_t bytes = static_cast<uint32_t>(queries * R * K) * sizeof(Bf16);
  for (int i = 0; i < tile.rows.count(); ++i) {
    const auto [stage, parity] = use_of<Tiles::kStages>(i);
    const int t = tile.rows.from_last(i) * queries;
    wait(&shared.q_empty[stage], parity ^ 1);
    arrive_expecting(&shared.q_full[stage], bytes);
    for (int column = 0; column < K; column += 64)
      copy_tile_async(shared.q[stage] + column * Tiles::kRows, q_map, &shared.q_full[stage], {column, head, t});
    wait(&shared.do_empty[stage], parity ^ 1);
    arrive_expecting(&shared.do_full[stage], bytes);
    for (int column = 0; column < K; column += 64)
      copy_tile_async(shared.d_o[stage] + column * Tiles::kRows, do_map, &shared.do_full[stage], {column, head, t});
  }
}

template <int K>
__device__ __forceinline__ void load_facts(const AttentionShape& s, const BackwardOperands& x,
                                           BackwardShared<K>& shared) {
  using Tiles = BackwardTiles<K>;
  const int R = static_cast<int>(s.H / s.G), queries = Tiles::kRows / R;
  const KeyTile& tile = shared.tile;
  for (int i = 0; i < tile.rows.count(); ++i) {
    const auto [stage, parity] = use_of<Tiles::kStages>(i);
    const int number = tile.rows.from_last(i);
    wait(&shared.q_empty[stage], parity ^ 1);
    RowFacts<Tiles::kRows>& facts = shared.facts[stage];
    for (int row = lane(); row < Tiles::kRows; row += kWarp) {
      const int t = number * queries + row / R;
      const bool exists = row < queries * R && t < static_cast<int>(s.T);
      const int at = t * static_cast<int>(s.H) + tile.g * R + row % R;
      facts.base[row] = exists ? kLog2e * x.lse[at] : INFINITY;
      facts.delta[row] = exists ? x.delta[at] : 0;
      if (tile.whole.has(number)) continue;
      const TileRange seen = keys_in_tile(s, tile, t);
      facts.begin[row] = seen.begin;
      facts.end[row] = exists ? seen.end : 0;
    }
    arrive_as_warp(&shared.q_full[stage]);
  }
}

// dq of each tile of rows, as it is computed, into the whole.
template <int K>
__device__ __forceinline__ void add_dq(const AttentionShape& s, const BackwardOperands& x, BackwardShared<K>& shared) {
  using Tiles = BackwardTiles<K>;
  const KeyTile& tile = shared.tile;
  const int R = static_cast<int>(s.H / s.G), queries = Tiles::kRows / R;
  for (int i = 0; i < tile.rows.count(); ++i) {
    const int number = tile.rows.from_last(i), t0 = number * queries;
    const int turn = x.turns.are_kept() ? turn_of_tile<Tiles::kKeys>(s, tile, t0) : 0;
    wait(&shared.dq_full, i % 2);
    const int place = number * static_cast<int>(s.G) + tile.g;
    x.turns.await(place, turn);
    for (int row = lane(); row < queries * R && t0 + row / R < s.T; row += kWarp)
      add_bulk(x.dq + int64_t{(t0 + row / R) * static_cast<int>(s.H) + tile.g * R + row % R} * K,
               shared.dq + row * Tiles::kDqRow, K * sizeof(float));
    commit_bulk();
    wait_bulk_read<0>();
    arrive_as_warp(&shared.dq_empty);
    if (x.turns.are_kept()) wait_bulk<0>();
    x.turns.end(place);
  }
  wait_bulk<0>();
}

// ---- the warpgroups that compute

// What one of them has of the sums.
template <int K>
struct KeySums {
  float dk[K / 8][4] = {}, dv[K / 8][4] = {};
};

template <int K, bool kWhole>
__device__ __forceinline__ void meet_rows(BackwardShared<K>& shared, int i, int group, float scale, KeySums<K>& sums) {
  using Tiles = BackwardTiles<K>;
  constexpr int kRows = Tiles::kRows, kParts = kRows / 8, kPanel = 64 * sizeof(Bf16);
  const auto [stage, parity] = use_of<Tiles::kStages>(i);
  const RowFacts<kRows>& facts = shared.facts[stage];
  const int key0 = group * 64, in_group = warp() % 4, column0 = lane() % 4 * 2;

  // of keys key0 + 16 in_group + lane / 4, and 8 further, and rows 8 part + column0, and 1 further
  float p[kParts][4], ds[kParts][4];
  const auto multiply_rows = [&](float(&c)[kParts][4], const Bf16* keys, const Bf16* rows) {
    fence_operands();
    ROPEWALK_UNROLL
    for (int column = 0; column < K; column += 16) {
      const int panel = column / 64, inside = column % 64 * static_cast<int>(sizeof(Bf16));
      multiply_async<kRows, false, false>(
          c, advanced(rows_operand(keys + key0 * 64), panel * Tiles::kKeys * kPanel + inside),
          advanced(rows_operand(rows), panel * kRows * kPanel + inside), column > 0);
    }
    commit_products();
  };
  wait(&shared.q_full[stage], parity);
  multiply_rows(p, shared.k, shared.q[stage]);
  wait(&shared.do_full[stage], parity);
  multiply_rows(ds, shared.v, shared.d_o[stage]);

  wait_products<1>();
  pin(p);
  const float log2_scale = kLog2e * scale;
  ROPEWALK_UNROLL
  for (int part = 0; part < kParts; ++part) {
    const Pack<float, 2> base = load<2>(facts.base + part * 8 + column0);
    for (int j = 0; j < 4; ++j) p[part][j] = exp2_flushed(log2_scale * p[part][j] - base.values[j % 2]);
  }
  if constexpr (!kWhole) {
    const int key = key0 + in_group * 16 + lane() / 4;
    ROPEWALK_UNROLL
    for (int part = 0; part < kParts; ++part) {
      const Pack<int, 2> begin = load<2>(facts.begin + part * 8 + column0),
                         end = load<2>(facts.end + part * 8 + column0);
      for (int j = 0; j < 4; ++j) {
        const int mine = key + j / 2 * 8;
        if (mine < begin.values[j % 2] || mine >= end.values[j % 2]) p[part][j] = 0;
      }
    }
  }
  uint32_t p_left[kRows / 16][4], ds_left[kRows / 16][4];
  const auto rounded_left = [](uint32_t(&left)[kRows / 16][4], const float(&x)[kParts][4]) {
    ROPEWALK_UNROLL
    for (int j = 0; j < kRows / 16; ++j)
      for (int half = 0; half < 2; ++half) {
        left[j][2 * half] = bf16_pair(x[2 * j + half][0], x[2 * j + half][1]);
        left[j][2 * half + 1] = bf16_pair(x[2 * j + half][2], x[2 * j + half][3]);
      }
  };
  rounded_left(p_left, p);
  pin(p), pin(p_left);  // computed while dP is

  wait_products<0>();
  pin(ds);
  ROPEWALK_UNROLL
  for (int part = 0; part < kParts; ++part) {
    const Pack<float, 2> delta = load<2>(facts.delta + part * 8 + column0);
    for (int j = 0; j < 4; ++j) ds[part][j] = p[part][j] * (ds[part][j] - delta.values[j % 2]);
  }
  rounded_left(ds_left, ds);
  ROPEWALK_UNROLL
  for (int j = 0; j < kRows / 16; ++j)
    store_left(ds_left[j], shared.ds[stage] + j / 4 * Tiles::kKeys * 64, key0 + in_group * 16, j % 4 * 16);
  fence_shared_writes();

  const auto add_columns_of = [&](float(&c)[K / 8][4], const uint32_t(&left)[kRows / 16][4], const Bf16* rows) {
    fence_operands();
    ROPEWALK_UNROLL
    for (int j = 0; j < kRows / 16; ++j)
      multiply_async<K, true>(c, left[j], advanced(columns_operand(rows, kRows * kPanel), j * 16 * kPanel), true);
    commit_products();
  };
  add_columns_of(sums.dv, p_left, shared.d_o[stage]);

  // dq: of rows 64 row_panel on and columns 64 column_panel on
  sync_threads_of(1, Tiles::kComputing * kWarpgroup);  // dS is there
  const int row_panel = K == 64 ? group : 0, column_panel = K == 64 ? 0 : group;
  float dq[8][4];
  fence_operands();
  ROPEWALK_UNROLL
  for (int key = 0; key < Tiles::kKeys; key += 16) {
    const Operand left = columns_operand(shared.ds[stage] + row_panel * Tiles::kKeys * 64, Tiles::kKeys * kPanel);
    const Operand right = columns_operand(shared.k + column_panel * Tiles::kKeys * 64, Tiles::kKeys * kPanel);
    multiply_async<64, true, true>(dq, advanced(left, key * kPanel), advanced(right, key * kPanel), key > 0);
  }
  commit_products();
  wait_products<1>();
  pin(sums.dv);
  arrive_as_warp(&shared.do_empty[stage]);
  add_columns_of(sums.dk, ds_left, shared.q[stage]);

  wait_products<1>();
  pin(dq);
  wait(&shared.dq_empty, (i + 1) % 2);
  ROPEWALK_UNROLL
  for (int part = 0; part < 8; ++part)
    for (int half = 0; half < 2; ++half) {
      const int row = row_panel * 64 + in_group * 16 + lane() / 4 + half * 8;
      store(Pack<float, 2>{{scale * dq[part][2 * half], scale * dq[part][2 * half + 1]}},
            shared.dq + row * Tiles::kDqRow + column_panel * 64 + part * 8 + column0);
    }
  fence_shared_writes();
  arrive_as_warp(&shared.dq_full);

  wait_products<0>();
  pin(sums.dk);
  arrive_as_warp(&shared.q_empty[stage]);
}

// to [.., K] += factor * sum, for this thread's two keys
template <int K>
__device__ __forceinline__ void add_sums(const AttentionShape& s, const KeyTile& tile, int key, float factor,
                                         const float (&sum)[K / 8][4], float* to) {
  for (int half = 0; half < 2; ++half) {
    if (key + half * 8 >= tile.exist) continue;
    float* row = to + (int64_t{tile.u + key + half * 8} * s.G + tile.g) * K + lane() % 4 * 2;
    Pack<float, 2> pairs[K / 8];  // all are asked for before the first one comes
    ROPEWALK_UNROLL
    for (int part = 0; part < K / 8; ++part) pairs[part] = load<2>(row + part * 8);
    ROPEWALK_UNROLL
    for (int part = 0; part < K / 8; ++part) {
      for (int j = 0; j < 2; ++j) pairs[part].values[j] += factor * sum[part][2 * half + j];
      store(pairs[part], row + part * 8);
    }
  }
}

template <int K>
__device__ __forceinline__ void compute(const AttentionShape& s, const BackwardOperands& x, BackwardShared<K>& shared) {
  const KeyTile tile = shared.tile;
  const int group = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / kWarpgroup, 0) - 1;  // known to be a warp's
  const float scale = 1 / sqrtf(static_cast<float>(K));
  KeySums<K> sums;
  wait(&shared.keys_full, 0);
  for (int i = 0; i < tile.rows.count(); ++i) {
    if (tile.whole.has(tile.rows.from_last(i)))
      meet_rows<K, true>(shared, i, group, scale, sums);
    else
      meet_rows<K, false>(shared, i, group, scale, sums);
  }
  const int key = group * 64 + warp() % 4 * 16 + lane() / 4;
  add_sums<K>(s, tile, key, scale, sums.dk, x.dk);
  add_sums<K>(s, tile, key, 1, sums.dv, x.dv);
}

// ---- the kernel: a block for each (tile of keys, key head)

template <int K>
__global__ void __launch_bounds__(BackwardTiles<K>::kThreads, 1)
    backward_kernel(AttentionShape s, const __grid_constant__ TensorMap q_map, const __grid_constant__ TensorMap k_map,
                    const __grid_constant__ TensorMap v_map, const __grid_constant__ TensorMap do_map,
                    BackwardOperands x) {
  if constexpr (kHasHopperInstructions) {
    using Tiles = BackwardTiles<K>;
    BackwardShared<K>& shared = *shared_memory<BackwardShared<K>>();
    if (threadIdx.x == 0) {
      shared.tile = key_tile<Tiles::kKeys, Tiles::kRows>(s, x.turns.number_of_block(), x.section);
      constexpr int kWarps = Tiles::kComputing * kWarpgroup / kWarp;  // that compute
      init(&shared.keys_full, 1);
      for (int stage = 0; stage < Tiles::kStages; ++stage) {
        init(&shared.q_full[stage], 2);
        init(&shared.q_empty[stage], kWarps);
        init(&shared.do_full[stage], 1);
        init(&shared.do_empty[stage], kWarps);
      }
      init(&shared.dq_full, kWarps);
      init(&shared.dq_empty, 1);
      publish_barriers();
    }
    // Rows for which R heads leave no place; a 0 of P times them must be 0.
    const int R = static_cast<int>(s.H / s.G), used = Tiles::kRows / R * R;
    for (int i = static_cast<int>(threadIdx.x); i < (Tiles::kRows - used) * K / 8; i += Tiles::kThreads) {
      const int panel = i / ((Tiles::kRows - used) * 8),
                at = (panel * Tiles::kRows + used) * 64 + i % ((Tiles::kRows - used) * 8) * 8;
      for (int stage = 0; stage < Tiles::kStages; ++stage) {
        store(Pack<Bf16, 8>{}, shared.q[stage] + at);
        store(Pack<Bf16, 8>{}, shared.d_o[stage] + at);
      }
    }
    fence_shared_writes();
    __syncthreads();

    if (threadIdx.x < kWarpgroup) {
      lower_registers<24>();
      if (threadIdx.x == 0) load_tiles<K>(q_map, k_map, v_map, do_map, s, shared);
      if (warp() == 1) add_dq<K>(s, x, shared);
      if (warp() == 2) load_facts<K>(s, x, shared);
    } else {
      raise_registers<240>();
      compute<K>(s, x, shared);
    }
  } else {
    trap();
  }
}

}  // namespace ROPEWALK_CUDA

// The compute warpgroups of the Hopper backward. Each handles 64 of the tile's keys, and half of dq. There are five
// products per row tile: S^T = k q^T, dP^T = v do^T, dv += P^T do, dk += dS^T q and dq = dS k. S, P, dP and dS are held
// transposed: their rows are keys. Only dq needs the dS of the other warpgroup.
#pragma once

#include "kernels/cuda/attention/hopper/backward_tiles.h"
#include "kernels/cuda/fast_math.h"
#include "kernels/cuda/hopper/proxy.h"
#include "kernels/cuda/hopper/tensor_map.h"
#include "kernels/cuda/hopper/wgmma.h"
#include "kernels/cuda/tensor_core.h"

namespace ROPEWALK_CUDA {

// This thread's part of the accumulators of dk and dv.
template <int K>
struct KeySums {
  float dk[K / 8][4] = {}, dv[K / 8][4] = {};
};

// Issues c [64, kRows] = 64 keys (or values) times the transpose of the rows of a tile.
template <int K>
__device__ __forceinline__ void multiply_rows(float (&c)[BackwardTiles<K>::kRows / 8][4], const Bf16* keys,
                                              const Bf16* rows) {
  using Tiles = BackwardTiles<K>;
  fence_operands();
  ROPEWALK_UNROLL
  for (int column = 0; column < K; column += 16) {
    const int panel = column / kPanel, inside = column % kPanel * static_cast<int>(sizeof(Bf16));
    multiply_async<Tiles::kRows, false, false>(
        c, advanced(rows_operand(keys), panel * Tiles::kKeys * Tiles::kRowBytes + inside),
        advanced(rows_operand(rows), panel * Tiles::kRows * Tiles::kRowBytes + inside), column > 0);
  }
  commit_products();
}

// Issues c [64, K] += left [64, kRows] times the rows of a tile.
template <int K>
__device__ __forceinline__ void add_rows(float (&c)[K / 8][4], const uint32_t (&left)[BackwardTiles<K>::kRows / 16][4],
                                         const Bf16* rows) {
  using Tiles = BackwardTiles<K>;
  const Operand right = columns_operand(rows, Tiles::kRows * Tiles::kRowBytes);
  fence_operands();
  ROPEWALK_UNROLL
  for (int i = 0; i < Tiles::kRows / 16; ++i)
    multiply_async<K, true>(c, left[i], advanced(right, i * 16 * Tiles::kRowBytes), true);
  commit_products();
}

// A warpgroup's half of dq: the 64 x 64 part that begins at (row, column).
template <int K>
struct DqHalf {
  int row, column;
  __device__ explicit DqHalf(int group) : row(K == 64 ? group * 64 : 0), column(K == 64 ? 0 : group * 64) {}
};

// Issues dq [64, 64] = dS k.
template <int K>
__device__ __forceinline__ void multiply_keys(float (&dq)[8][4], const Bf16* ds, const Bf16* k, int group) {
  using Tiles = BackwardTiles<K>;
  const DqHalf<K> half(group);
  constexpr int kPanelBytes = Tiles::kKeys * Tiles::kRowBytes;
  const Operand left = columns_operand(ds + half.row * Tiles::kKeys, kPanelBytes);
  const Operand right = columns_operand(k + half.column * Tiles::kKeys, kPanelBytes);
  fence_operands();
  ROPEWALK_UNROLL
  for (int key = 0; key < Tiles::kKeys; key += 16)
    multiply_async<64, true, true>(dq, advanced(left, key * Tiles::kRowBytes), advanced(right, key * Tiles::kRowBytes),
                                   key > 0);
  commit_products();
}

// Stores scale * dq into `tile`, from which add_dq() adds it to device memory. Odd rows store their parts of 8 columns
// in another order (part ^ 2): a warp's 8-byte store takes two passes of half a warp, and the four rows of a pass
// should lie in different banks.
template <int K>
__device__ __forceinline__ void store_dq(const float (&dq)[8][4], float scale, int group, float* tile) {
  using Tiles = BackwardTiles<K>;
  const DqHalf<K> half(group);
  const bool odd = lane() / 4 % 2;
  ROPEWALK_UNROLL
  for (int part = 0; part < 8; ++part) {
    const int other = part ^ 2, column = half.column + (odd ? other : part) * 8 + lane() % 4 * 2;
    for (int i = 0; i < 2; ++i) {
      const int row = half.row + warp() % 4 * 16 + lane() / 4 + 8 * i;
      const int piece = swizzled_piece(row, column % Tiles::kDqPanel / 4);
      const Pack<float, 2> pair{{scale * (odd ? dq[other][2 * i] : dq[part][2 * i]),
                                 scale * (odd ? dq[other][2 * i + 1] : dq[part][2 * i + 1])}};
      store(pair, tile + (column / Tiles::kDqPanel * Tiles::kRows + row) * Tiles::kDqPanel + piece * 4 + column % 4);
    }
  }
}

// Stores a warp's left operand [16, 16] into a swizzled panel of 64 columns, from (row, column) on.
__device__ __forceinline__ void store_left(const uint32_t (&left)[4], Bf16* panel, int row, int column) {
#ifdef __CUDACC__
  const int to_row = row + lane() % 16, piece = column / 8 + lane() / 16;
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(
                   shared_address(panel + to_row * 64 + swizzled_piece(to_row, piece) * 8)),
               "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3])
               : "memory");
#else
  for (int i = 0; i < 4; ++i) {
    const int to_row = row + i % 2 * 8 + lane() / 4, piece = column / 8 + i / 2;
    const Pack<Bf16, 2> pair{{{static_cast<uint16_t>(left[i])}, {static_cast<uint16_t>(left[i] >> 16)}}};
    store(pair, panel + to_row * 64 + swizzled_piece(to_row, piece) * 8 + lane() % 4 * 2);
  }
#endif
}

// Processes the i-th row tile visited. kWhole: it needs no mask.
template <int K, bool kWhole>
__device__ __forceinline__ void meet_rows(int i, float scale, int group, BackwardShared<K>& shared, KeySums<K>& sums) {
  using Tiles = BackwardTiles<K>;
  constexpr int kRows = Tiles::kRows, kParts = kRows / 8;
  const auto [stage, parity] = RingPlace<Tiles::kStages>::of(i);
  const RowFacts<kRows>& facts = shared.facts[stage];
  const int key0 = group * 64 + warp() % 4 * 16, row0 = lane() % 4 * 2;  // the warp's first key, the thread's first row

  float p[kParts][4], ds[kParts][4], dq[8][4];
  uint32_t p_left[kRows / 16][4], ds_left[kRows / 16][4];
  wait(&shared.q_full[stage], parity);
  multiply_rows<K>(p, shared.k + group * 64 * kPanel, shared.q[stage]);
  wait(&shared.do_full[stage], parity);
  multiply_rows<K>(ds, shared.v + group * 64 * kPanel, shared.d_o[stage]);

  wait_products<1>();
  pin(p);
  ROPEWALK_UNROLL
  for (int part = 0; part < kParts; ++part) {
    const Pack<float, 2> base = load<2>(facts.base + part * 8 + row0);
    for (int j = 0; j < 4; ++j) p[part][j] = exp2_flushed(kLog2e * scale * p[part][j] - base.values[j % 2]);
  }
  if constexpr (!kWhole) {
    const int key = key0 + lane() / 4;
    ROPEWALK_UNROLL
    for (int part = 0; part < kParts; ++part) {
      const Pack<int, 2> begin = load<2>(facts.begin + part * 8 + row0), end = load<2>(facts.end + part * 8 + row0);
      for (int j = 0; j < 4; ++j) {
        const int mine = key + j / 2 * 8;
        if (mine < begin.values[j % 2] || mine >= end.values[j % 2]) p[part][j] = 0;
      }
    }
  }
  round_to_left(p_left, p);
  pin(p);
  pin(p_left);

  wait_products<0>();
  pin(ds);
  ROPEWALK_UNROLL
  for (int part = 0; part < kParts; ++part) {
    const Pack<float, 2> delta = load<2>(facts.delta + part * 8 + row0);
    for (int j = 0; j < 4; ++j) ds[part][j] = p[part][j] * (ds[part][j] - delta.values[j % 2]);
  }
  round_to_left(ds_left, ds);
  ROPEWALK_UNROLL
  for (int j = 0; j < kRows / 16; ++j)
    store_left(ds_left[j], shared.ds[stage] + j / 4 * kPanel * Tiles::kKeys, key0, j % 4 * 16);
  fence_shared_writes();

  add_rows<K>(sums.dv, p_left, shared.d_o[stage]);
  // Waits until both warpgroups have stored their dS. This stage of ds is overwritten two row tiles later, after the
  // next pass of this barrier. A warpgroup reaches that pass only after its product dq has read the stage.
  sync_threads_of(1, Tiles::kComputing * kWarpgroup);
  multiply_keys<K>(dq, shared.ds[stage], shared.k, group);
  wait_products<1>();
  pin(sums.dv);
  arrive_as_warp(&shared.do_empty[stage]);
  add_rows<K>(sums.dk, ds_left, shared.q[stage]);
  wait_products<1>();
  pin(dq);
  wait(&shared.dq_empty, (i + 1) % 2);
  store_dq<K>(dq, scale, group, shared.dq);
  fence_shared_writes();
  arrive_as_warp(&shared.dq_full[i % 2]);
  wait_products<0>();
  pin(sums.dk);
  arrive_as_warp(&shared.q_empty[stage]);
}

// to [.., K] += factor * sum, for this thread's part of its two keys
template <int K>
__device__ __forceinline__ void add_sums(const AttentionShape& s, const KeyTile& tile, int key, float factor,
                                         const float (&sum)[K / 8][4], float* to) {
  for (int i = 0; i < 2; ++i) {
    if (key + i * 8 >= tile.exist) continue;
    float* row = to + (int64_t{tile.u + key + i * 8} * s.G + tile.g) * K + lane() % 4 * 2;
    Pack<float, 2> pairs[K / 8];  // all loads are issued before the first result is used
    ROPEWALK_UNROLL
    for (int part = 0; part < K / 8; ++part) pairs[part] = load<2>(row + part * 8);
    ROPEWALK_UNROLL
    for (int part = 0; part < K / 8; ++part) {
      for (int j = 0; j < 2; ++j) pairs[part].values[j] += factor * sum[part][2 * i + j];
      store(pairs[part], row + part * 8);
    }
  }
}

template <int K>
__device__ __forceinline__ void compute(const AttentionShape& s, const BackwardOperands& x, int group,
                                        BackwardShared<K>& shared) {
  const KeyTile& tile = shared.tile;  // a reference: read when needed, which saves registers
  const int count = tile.rows.count();
  if (count == 0) return;
  const float scale = 1 / sqrtf(static_cast<float>(K));
  KeySums<K> sums;
  wait(&shared.keys_full, 0);
  for (int i = 0; i < count; ++i) {
    if (tile.whole.has(tile.met(i)))
      meet_rows<K, true>(i, scale, group, shared, sums);
    else
      meet_rows<K, false>(i, scale, group, shared, sums);
  }

  const int key = group * 64 + warp() % 4 * 16 + lane() / 4;
  add_sums<K>(s, tile, key, scale, sums.dk, x.dk);
  add_sums<K>(s, tile, key, 1, sums.dv, x.dv);
}

}  // namespace ROPEWALK_CUDA

// What the warps of a block of the Hopper backward share, and how they tell each other what is there.
#pragma once

#include "kernels/cuda/attention/hopper/backward_geometry.h"
#include "kernels/cuda/attention/hopper/turns.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/hopper/ring.h"
#include "kernels/cuda/hopper/wgmma.h"

namespace ROPEWALK_CUDA {

template <int K>
struct BackwardTiles {
  static constexpr int kDqPanel = 32;    // columns of a panel of fp32
  static constexpr int kRowBytes = 128;  // of a panel
  static constexpr int kKeys = 128, kRows = 8192 / K;
  static constexpr int kComputing = 2;  // warpgroups
  static constexpr int kThreads = (1 + kComputing) * kWarpgroup;
  static constexpr int kStages = 2;
};

// What a tile's scores are shifted by and where they are masked. Of rows that do not exist P is 0.
template <int kRows>
struct RowFacts {
  float base[kRows];  // lse in units of log 2
  float delta[kRows];
  int begin[kRows], end[kRows];  // of the tile's keys that are seen; only where the tile of rows is not whole
};

// Tiles are panels of rows of 128 bytes, swizzled as TensorMap says.
template <int K>
struct BackwardShared {
  using Tiles = BackwardTiles<K>;
  alignas(1024) Bf16 k[Tiles::kKeys * K];
  alignas(1024) Bf16 v[Tiles::kKeys * K];
  alignas(1024) Bf16 q[Tiles::kStages][Tiles::kRows * K];
  alignas(1024) Bf16 d_o[Tiles::kStages][Tiles::kRows * K];
  alignas(1024) Bf16 ds[Tiles::kStages][Tiles::kKeys * Tiles::kRows];  // dS^T: its rows are keys
  alignas(1024) float dq[Tiles::kRows * K];
  RowFacts<Tiles::kRows> facts[Tiles::kStages];  // come and go with q
  Barrier keys_full;
  Barrier q_full[Tiles::kStages], q_empty[Tiles::kStages];
  Barrier do_full[Tiles::kStages], do_empty[Tiles::kStages];
  // dq_full[i % 2]: row tile i is in `dq`. Two threads send, one the even and one the odd tiles.
  Barrier dq_full[2], dq_empty;
  KeyTile tile;
};

template <int K>
__device__ __forceinline__ void init_barriers(BackwardShared<K>& shared) {
  using Tiles = BackwardTiles<K>;
  constexpr int kWarps = Tiles::kComputing * kWarpgroup / kWarp;  // that compute
  init(&shared.keys_full, 1);
  for (int stage = 0; stage < Tiles::kStages; ++stage) {
    init(&shared.q_full[stage], 2);
    init(&shared.do_full[stage], 1);
    init(&shared.q_empty[stage], kWarps);
    init(&shared.do_empty[stage], kWarps);
  }
  for (Barrier& full : shared.dq_full) init(&full, kWarps);
  init(&shared.dq_empty, 1);
  publish_barriers();
}

struct BackwardOperands {
  const float *lse, *delta;
  float *dk, *dv;
  Turns turns;
};

}  // namespace ROPEWALK_CUDA

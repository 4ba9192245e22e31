// The shared memory of a thread block of the Hopper backward, and the barriers by which its warps synchronize.
#pragma once

#include "kernels/cuda/attention/hopper/backward_geometry.h"
#include "kernels/cuda/attention/hopper/turns.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/hopper/ring.h"
#include "kernels/cuda/hopper/wgmma.h"

namespace ROPEWALK_CUDA {

template <int K>
struct BackwardTiles {
  static constexpr int kDqPanel = 32;    // columns of an fp32 panel
  static constexpr int kRowBytes = 128;  // bytes in a row of a panel
  static constexpr int kKeys = 128, kRows = 8192 / K;
  static constexpr int kComputing = 2;  // compute warpgroups
  static constexpr int kThreads = (1 + kComputing) * kWarpgroup;
  static constexpr int kStages = 2;
};

// Per row of a row tile. Rows that do not exist have base = +inf, so that their P is 0.
template <int kRows>
struct RowFacts {
  float base[kRows];  // lse in base 2, subtracted from scores
  float delta[kRows];
  int begin[kRows], end[kRows];  // the key tile's keys that the row sees; set only if the row tile needs a mask
};

// Tiles consist of panels with rows of 128 bytes, swizzled as described at TensorMap.
template <int K>
struct BackwardShared {
  using Tiles = BackwardTiles<K>;
  alignas(1024) Bf16 k[Tiles::kKeys * K];
  alignas(1024) Bf16 v[Tiles::kKeys * K];
  alignas(1024) Bf16 q[Tiles::kStages][Tiles::kRows * K];
  alignas(1024) Bf16 d_o[Tiles::kStages][Tiles::kRows * K];
  alignas(1024) Bf16 ds[Tiles::kStages][Tiles::kKeys * Tiles::kRows];  // dS^T: its rows are keys
  alignas(1024) float dq[Tiles::kRows * K];
  RowFacts<Tiles::kRows> facts[Tiles::kStages];  // loaded and released with q
  Barrier keys_full;
  Barrier q_full[Tiles::kStages], q_empty[Tiles::kStages];
  Barrier do_full[Tiles::kStages], do_empty[Tiles::kStages];
  // dq_full[i % 2]: dq of the i-th row tile is in `dq`. One thread adds the even ones to device memory, another the
  // odd.
  Barrier dq_full[2], dq_empty;
  KeyTile tile;
};

template <int K>
__device__ __forceinline__ void init_barriers(BackwardShared<K>& shared) {
  using Tiles = BackwardTiles<K>;
  constexpr int kComputing = Tiles::kComputing * kWarpgroup / kWarp * kWarpArrivals;  // by the compute warps
  init(&shared.keys_full, 1);
  for (int stage = 0; stage < Tiles::kStages; ++stage) {
    init(&shared.q_full[stage], 1 + kWarpArrivals);
    init(&shared.do_full[stage], 1);
    init(&shared.q_empty[stage], kComputing);
    init(&shared.do_empty[stage], kComputing);
  }
  for (Barrier& full : shared.dq_full) init(&full, kComputing);
  init(&shared.dq_empty, 1);
  publish_barriers();
}

struct BackwardOperands {
  const float *lse, *delta;
  float *dk, *dv;
  Turns turns;
};

}  // namespace ROPEWALK_CUDA

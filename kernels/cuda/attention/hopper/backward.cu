// Attention's backward on Hopper (Shah et al., FlashAttention-3, arXiv 2407.08608). A thread block keeps a tile of keys
// and values of one KV head in shared memory, and streams all rows (t, r) that see any of these keys, one row tile at a
// time.
#include "kernels/cuda/attention/hopper/backward_moves.h"
#include "kernels/cuda/attention/hopper/backward_sums.h"
#include "kernels/cuda/attention/operands.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/hopper/proxy.h"
#include "kernels/cuda/hopper/registers.h"

namespace ROPEWALK_CUDA {
namespace {

// Zeros the rows at the end of the row tiles' stages that are never loaded, where R does not divide kRows: their P is
// 0, and 0 times what they hold must be 0.
template <int K>
__device__ __forceinline__ void clear_unused_rows(int used, BackwardShared<K>& shared) {
  using Tiles = BackwardTiles<K>;
  const int unused = (Tiles::kRows - used) * kPanel;  // elements in a panel
  for (int i = static_cast<int>(threadIdx.x) * 8; i < unused * (K / kPanel); i += Tiles::kThreads * 8) {
    const int at = (i / unused * Tiles::kRows + used) * kPanel + i % unused;
    for (int stage = 0; stage < Tiles::kStages; ++stage) {
      store(Pack<Bf16, 8>{}, shared.q[stage] + at);
      store(Pack<Bf16, 8>{}, shared.d_o[stage] + at);
    }
  }
  fence_shared_writes();
}

template <int K>
__global__ void __launch_bounds__(BackwardTiles<K>::kThreads, 1)
    hopper_backward_kernel(AttentionShape s, const __grid_constant__ TensorMap q, const __grid_constant__ TensorMap k,
                           const __grid_constant__ TensorMap v, const __grid_constant__ TensorMap d_o,
                           const __grid_constant__ TensorMap dq, BackwardOperands x) {
  if constexpr (kHasHopperInstructions) {
    using Tiles = BackwardTiles<K>;
    BackwardShared<K>& shared = *shared_memory<BackwardShared<K>>();
    const int R = static_cast<int>(s.H / s.G);
    if (threadIdx.x == 0) {
      shared.tile = key_tile<Tiles::kKeys, Tiles::kRows>(s, x.turns.number_of_block());
      init_barriers(shared);
    }
    clear_unused_rows<K>(Tiles::kRows / R * R, shared);
    __syncthreads();

    // The role of this warp; the shuffle tells the compiler that it is uniform over the warp.
    const int group = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / kWarpgroup, 0);
    if (group == 0) {
      lower_registers<40>();
      if (shared.tile.rows.count() == 0) return;
      if (threadIdx.x == 0) load_tiles<K>(q, k, v, d_o, s, shared);
      if (warp() == 1) load_facts<K>(s, x, shared);
      if (warp() >= 2 && lane() == 0) add_dq<K>(dq, s, x.turns, warp() - 2, shared);
    } else {
      raise_registers<232>();
      compute<K>(s, x, group - 1, shared);
    }
  } else {
    trap();
  }
}

}  // namespace

void CudaBackend::hopper_attention_backward(const AttentionShape& s, const Tensor& q, const Tensor& k, const Tensor& v,
                                            const Tensor& d_o, const Tensor& lse, const Tensor& delta, const Tensor& dq,
                                            const Tensor& dk, const Tensor& dv) {
  check_counts(s);
  if (s.T == 0 || s.U == 0) return;
  with_head_size(s.K, [&](auto K) {
    using Tiles = BackwardTiles<K()>;
    const int64_t R = s.H / s.G, queries = Tiles::kRows / R;
    Turns turns{nullptr};
    if (deterministic_) {
      const int64_t counts = 1 + blocks_for(s.T, queries) * s.G;
      turns.counts = static_cast<int*>(runtime_.workspace(counts * int64_t{sizeof(int)}));
      runtime_.clear(turns.counts, counts * int64_t{sizeof(int)});
    }
    const auto rows = [&](const auto* x, int columns) {
      return tensor_map(x, {K, s.H, s.T}, {K, s.H * K}, {columns, static_cast<int>(R), static_cast<int>(queries)});
    };
    const auto keys = [&](const Tensor& x) {
      return tensor_map(at<Bf16>(x), {K, s.G, s.U}, {K, s.G * K}, {kPanel, 1, Tiles::kKeys});
    };
    launch(runtime_, {blocks_for(s.U, Tiles::kKeys) * s.G, Tiles::kThreads, 1, sizeof(BackwardShared<K()>)},
           hopper_backward_kernel<K()>, s, rows(at<Bf16>(q), kPanel), keys(k), keys(v), rows(at<Bf16>(d_o), kPanel),
           rows(at<float>(dq), Tiles::kDqPanel),
           BackwardOperands{at<float>(lse), at<float>(delta), at<float>(dk), at<float>(dv), turns});
  });
}

}  // namespace ROPEWALK_CUDA

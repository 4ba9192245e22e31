// Attention's forward by tiles (Dao, arXiv 2307.08691), merged into (o, lse). Scores exist one tile at a time, in
// registers and in units of log 2.
#include "kernels/cuda/attention/merge.h"
#include "kernels/cuda/attention/online_softmax.h"
#include "kernels/cuda/attention/operands.h"
#include "kernels/cuda/attention/tiles.h"
#include "kernels/cuda/cuda_backend.h"

namespace ROPEWALK_CUDA {
namespace {

template <int K>
constexpr int64_t kForwardBytes = (PortableTiles<K>::kRows + 4 * PortableTiles<K>::kKeys) * K* int64_t{sizeof(Bf16)};

// A block for each (block of rows, key head); the blocks that see the most keys begin first.
template <int K>
__global__ void __launch_bounds__(PortableTiles<K>::kThreads)
    attention_forward_kernel(AttentionShape s, const Bf16* q, const Bf16* k, const Bf16* v, float* o, float* lse) {
  using Tiles = PortableTiles<K>;
  const int64_t g = blockIdx.y, per_block = Tiles::kRows / (s.H / s.G);
  const Rows<Tiles::kRows> rows(s, (int64_t{gridDim.x} - 1 - blockIdx.x) * per_block);
  const Range first = keys_of_query(s, rows.t0), last = keys_of_query(s, rows.t0 + rows.queries - 1);
  if (first.begin >= last.end) return;

  Bf16* q_tile = shared_memory<Bf16>();
  Bf16 *k_tiles = q_tile + Tiles::kRows * K, *v_tiles = k_tiles + 2 * Tiles::kKeys * K;
  const auto ask_for_keys = [&](int64_t u, int stage) {
    copy_keys<Tiles>(s, g, u, k, v, k_tiles + stage * Tiles::kKeys * K, v_tiles + stage * Tiles::kKeys * K);
    commit();
  };
  const int64_t begin = first.begin / Tiles::kKeys * Tiles::kKeys;
  copy_tile<Tiles>(q_tile, Tiles::kRows, rows.count(), [&](int row) { return q + rows.at(s, g, row) * K; });
  ask_for_keys(begin, 0);

  // This thread's two rows, 8 apart.
  const int row0 = warp() * Tiles::kWarpRows + lane() / 4;
  const Range seen[2] = {keys_of_row(s, rows, row0), keys_of_row(s, rows, row0 + 8)};
  OnlineSoftmax softmax;
  float out[K / 8][4] = {};
  const float scale = kLog2e / sqrtf(static_cast<float>(K));

  int stage = 0;
  for (int64_t u = begin; u < last.end; u += Tiles::kKeys, stage ^= 1) {
    if (u + Tiles::kKeys < last.end)
      ask_for_keys(u + Tiles::kKeys, stage ^ 1);
    else
      commit();  // of nothing, so that one newer group is on its way here too
    wait<1>();
    __syncthreads();

    float score[Tiles::kKeys / 8][4];
    multiply_tiles<K, Tiles::kKeys>(score, q_tile, warp() * Tiles::kWarpRows, k_tiles + stage * Tiles::kKeys * K);
    const bool whole = u >= last.begin && u + Tiles::kKeys <= first.end;
    if (!whole)
      for (int part = 0; part < Tiles::kKeys / 8; ++part)
        for (int i = 0; i < 4; ++i) {
          const int64_t key = u + part * 8 + lane() % 4 * 2 + i % 2;
          if (key < seen[i / 2].begin || key >= seen[i / 2].end) score[part][i] = -INFINITY;
        }
    float shrink[2];
    softmax.take(score, scale, shrink);
    if (shrink[0] != 1 || shrink[1] != 1) shrink_rows(out, shrink);  // seldom, once most keys have been seen
    add_product<K, Tiles::kKeys>(out, score, v_tiles + stage * Tiles::kKeys * K);
    __syncthreads();  // before the next keys come to the other stage's place
  }

  for (int i = 0; i < 2; ++i) {
    const float sum = softmax.whole_sum(i);
    const int row = row0 + 8 * i;
    const bool mine = row < rows.count() && sum != 0;  // 0: sees none of these keys
    merge_row<K>(out, i, kLn2 * softmax.largest[i] + logf(sum), sum, mine, mine ? rows.at(s, g, row) : 0, o, lse);
  }
}

}  // namespace

void CudaBackend::portable_attention_forward(const AttentionShape& s, const Tensor& q, const Tensor& k, const Tensor& v,
                                             const Tensor& o, const Tensor& lse) {
  with_head_size(s.K, [&](auto K) {
    using Tiles = PortableTiles<K()>;
    const int64_t per_block = Tiles::kRows / (s.H / s.G);
    launch(runtime_, {blocks_for(s.T, per_block), Tiles::kThreads, s.G, kForwardBytes<K()>},
           attention_forward_kernel<K()>, s, at<Bf16>(q), at<Bf16>(k), at<Bf16>(v), at<float>(o), at<float>(lse));
  });
}

}  // namespace ROPEWALK_CUDA

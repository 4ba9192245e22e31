// Attention's forward by tiles (Dao, arXiv 2307.08691), merged into (o, lse). Scores exist one tile at a time, in
// registers and in base 2.
#include "kernels/cuda/attention/merge.h"
#include "kernels/cuda/attention/online_softmax.h"
#include "kernels/cuda/attention/operands.h"
#include "kernels/cuda/attention/portable/row_block.h"
#include "kernels/cuda/cuda_backend.h"

namespace ROPEWALK_CUDA {
namespace {

template <int K>
using ForwardTiles = RowTiles<K, 2, 64, 2, 2, 1>;

// One thread block per (block of rows, KV head).
template <int K>
__global__ void __launch_bounds__(ForwardTiles<K>::kThreads, ForwardTiles<K>::kBlocks)
    attention_forward_kernel(AttentionShape s, const Bf16* q, const Bf16* k, const Bf16* v, float* o, float* lse) {
  using Tiles = ForwardTiles<K>;
  const RowBlock<Tiles> block(s);
  if (block.empty()) return;
  Bf16* const q_tile = shared_memory<Bf16>();
  auto& bounds = *reinterpret_cast<RowBounds<Tiles>*>(q_tile + Tiles::kTiles);
  block.copy_rows(q_tile, q);

  OnlineSoftmax softmax[Tiles::kParts];
  float out[Tiles::kParts][K / 8][4];
  const auto each_row = [&](const auto& f) {
    const auto rows = block.rows();
    ROPEWALK_UNROLL
    for (int part = 0; part < Tiles::kParts; ++part) {
      ROPEWALK_UNROLL
      for (int i = 0; i < 2; ++i) {
        const int row = worked_out_here(block.row(part, i));
        f(part, i, rows, row, rows.at(s, blockIdx.y, row));
      }
    }
  };
  each_row([&](int part, int i, const auto& rows, int row, int64_t at) {
    continue_row<K>(out[part], softmax[part], i, at, row < rows.count() ? lse[at] : -INFINITY, o);
  });
  const float scale = kLog2e / sqrtf(static_cast<float>(K));
  block.each_tile(k, v, q_tile + Tiles::kLeft, bounds, [&](int u, const Tile<K>& keys) {
    float score[Tiles::kParts][Tiles::kKeys / 8][4] = {};
    block.add_product_of_rows(score, q_tile, keys, 0);
    block.hide(score, u, bounds);
    ROPEWALK_UNROLL
    for (int part = 0; part < Tiles::kParts; ++part) {
      float shrink[2];
      softmax[part].take(score[part], scale, shrink);
      if (shrink[0] != 1 || shrink[1] != 1) shrink_rows(out[part], shrink);  // rare, once most keys have been seen
    }
    add_product<K>(out, score, keys, Tiles::kKeys);
  });

  each_row([&](int part, int i, const auto& rows, int row, int64_t at) {
    write_row<K>(out[part], softmax[part], i, !keys_of_row(s, rows, row).empty(), at, o, lse);
  });
}

}  // namespace

void CudaBackend::portable_attention_forward(const AttentionShape& s, const Tensor& q, const Tensor& k, const Tensor& v,
                                             const Tensor& o, const Tensor& lse) {
  with_head_size(s.K, [&](auto K) {
    using Tiles = ForwardTiles<K()>;
    const int64_t per_block = Tiles::kRows / (s.H / s.G);
    launch(runtime_, {blocks_for(s.T, per_block), Tiles::kThreads, s.G, Tiles::kBytes}, attention_forward_kernel<K()>,
           s, at<Bf16>(q), at<Bf16>(k), at<Bf16>(v), at<float>(o), at<float>(lse));
  });
}

}  // namespace ROPEWALK_CUDA

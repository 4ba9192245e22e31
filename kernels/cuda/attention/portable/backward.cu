// Attention's backward by tiles (Dao, arXiv 2307.08691); P is recomputed from lse. The deterministic mode has two
// kernels: one in which each block has rows, for dq, and one in which each block has a key tile, for dk and dv. They
// compute seven products, and no two blocks add to the same element. Otherwise there is one kernel, in which each block
// has a key tile: five products, and dq is added to atomically, in any order.
#include "kernels/cuda/attention/online_softmax.h"
#include "kernels/cuda/attention/operands.h"
#include "kernels/cuda/attention/portable/met_rows.h"
#include "kernels/cuda/attention/portable/row_block.h"
#include "kernels/cuda/cuda_backend.h"

namespace ROPEWALK_CUDA {
namespace {

template <int K>
using QueryTiles = RowTiles<K, 2, 32, 2, 2, 2>;

// dq += dS k / sqrt(K), dS = P * (do v^T - delta); one thread block per (block of rows, KV head)
template <int K>
__global__ void __launch_bounds__(QueryTiles<K>::kThreads, QueryTiles<K>::kBlocks)
    query_gradient_kernel(AttentionShape s, const Bf16* q, const Bf16* k, const Bf16* v, const Bf16* d_o,
                          const float* lse, const float* delta, float* dq) {
  using Tiles = QueryTiles<K>;
  const RowBlock<Tiles> block(s);
  if (block.empty()) return;
  Bf16 *const q_tile = shared_memory<Bf16>(), *const do_tile = q_tile + Tiles::kLeft;
  auto& bounds = *reinterpret_cast<RowBounds<Tiles>*>(q_tile + Tiles::kTiles);
  block.copy_rows(q_tile, q);
  block.copy_rows(do_tile, d_o);

  float base[Tiles::kParts][2], delta_row[Tiles::kParts][2];
  const auto rows = block.rows();
  for (int part = 0; part < Tiles::kParts; ++part)
    for (int i = 0; i < 2; ++i) {
      const int row = block.row(part, i);
      const bool exists = row < rows.count();
      base[part][i] = exists ? softmax_base(lse[rows.at(s, blockIdx.y, row)]) : 0;
      delta_row[part][i] = exists ? delta[rows.at(s, blockIdx.y, row)] : 0;
    }
  float out[Tiles::kParts][K / 8][4] = {};
  const float scale = 1 / sqrtf(static_cast<float>(K));
  block.each_tile(k, v, do_tile + Tiles::kLeft, bounds, [&](int u, const Tile<K>& keys) {
    float p[Tiles::kParts][Tiles::kKeys / 8][4] = {}, ds[Tiles::kParts][Tiles::kKeys / 8][4];
    block.add_product_of_rows(p, q_tile, keys, 0);
    block.hide(p, u, bounds);
    ROPEWALK_UNROLL
    for (int part = 0; part < Tiles::kParts; ++part)
      for (int column = 0; column < Tiles::kKeys / 8; ++column)
        for (int i = 0; i < 4; ++i) ds[part][column][i] = -delta_row[part][i / 2];
    block.add_product_of_rows(ds, do_tile, keys, Tiles::kKeys);
    ROPEWALK_UNROLL
    for (int part = 0; part < Tiles::kParts; ++part)
      for (int column = 0; column < Tiles::kKeys / 8; ++column)
        for (int i = 0; i < 4; ++i)
          ds[part][column][i] *= exp2_flushed(fmaf(p[part][column][i], kLog2e * scale, -base[part][i / 2]));
    add_product<K>(out, ds, keys, 0);
  });

  const auto rows_now = block.rows();
  ROPEWALK_UNROLL
  for (int part = 0; part < Tiles::kParts; ++part) {
    ROPEWALK_UNROLL
    for (int i = 0; i < 2; ++i) {
      const int row = block.row(part, i);
      if (row >= rows_now.count()) continue;
      float* to = dq + rows_now.at(s, blockIdx.y, row) * K + lane() % 4 * 2;
      for (int column = 0; column < K / 8; ++column)
        add_pair(to + column * 8, scale, out[part][column][2 * i], out[part][column][2 * i + 1]);
    }
  }
}

// Shared memory: row tiles; if dq is computed, the key tile and two buffers of dS^T [kKeys, kRows], one of which is
// written while the other is read; and MetRows::Shared.
template <typename Tiles, bool kWithQueries>
struct KeyShared {
  static constexpr int kDs = Tiles::kKeys * Tiles::kRows;
  static constexpr int kTiles = MetRows<Tiles>::kTiles + (kWithQueries ? Tiles::kKey + 2 * kDs : 0);
  static constexpr int64_t kBytes = kTiles * int64_t{sizeof(Bf16)} + int64_t{sizeof(typename MetRows<Tiles>::Shared)};
  static_assert(kBytes <= kMostShared);
};

// to [2] += (first, second), while other blocks may add to it too
__device__ __forceinline__ void add_pair_atomically(float* to, float first, float second) {
#if defined(ROPEWALK_CUDA_EMULATED)  // which switches between blocks only where they wait
  add_pair(to, 1, first, second);
#elif __CUDA_ARCH__ >= 900
  atomicAdd(reinterpret_cast<float2*>(to), make_float2(first, second));
#else
  atomicAdd(to, first);
  atomicAdd(to + 1, second);
#endif
}

// dq += dS k / sqrt(K) for the row tile that begins at query t and the block's key tile; ds_tile is dS^T. Each warp
// computes K / kWarps columns of all rows.
template <typename Tiles>
__device__ __forceinline__ void add_query_gradient(const MetRows<Tiles>& rows, int t, const Bf16* ds_tile,
                                                   const Bf16* k_tile, float* dq) {
  constexpr int K = Tiles::K, kColumns = K / Tiles::kWarps;
  const Tile<Tiles::kRows> ds(ds_tile);
  const Tile<K> keys(k_tile);
  const int count = rows.count(t), first = warp() * kColumns, me = worked_out_here(lane());
  const float scale = 1 / sqrtf(static_cast<float>(K));
  float* const to = dq + rows.first(t) * K + first + me % 4 * 2;
  constexpr int kParts = 2;  // of 16 rows each; the keys that are loaded serve all of them
  ROPEWALK_UNROLL
  for (int row0 = 0; row0 < Tiles::kRows; row0 += 16 * kParts) {
    float sum[kParts][kColumns / 8][4] = {};
    ROPEWALK_UNROLL
    for (int key = 0; key < Tiles::kKeys; key += 16) {
      uint32_t a[kParts][4];
      ROPEWALK_UNROLL
      for (int part = 0; part < kParts; ++part) ds.load_left_transposed(a[part], key, row0 + 16 * part);
      add_columns(sum, a, [&](uint32_t(&b)[4], int column) { keys.load_right_transposed(b, key, first + column); });
    }
    ROPEWALK_UNROLL
    for (int part = 0; part < kParts; ++part)
      for (int i = 0; i < 2; ++i) {
        const int row = row0 + 16 * part + me / 4 + 8 * i;
        if (row >= count) continue;
        for (int column = 0; column < kColumns / 8; ++column)
          add_pair_atomically(to + rows.place(row) * K + column * 8, scale * sum[part][column][2 * i],
                              scale * sum[part][column][2 * i + 1]);
      }
  }
}

// dv += P^T do, dk += dS^T q / sqrt(K); one thread block per (key tile, KV head). P and dS are computed transposed:
// their rows are keys. kWithQueries: computes dq too, which is not touched otherwise.
template <int K, bool kWithQueries>
__global__ void __launch_bounds__(KeyTiles<K, kWithQueries>::kThreads, KeyTiles<K, kWithQueries>::kBlocks)
    key_gradient_kernel(AttentionShape s, const Bf16* q, const Bf16* k, const Bf16* v, const Bf16* d_o,
                        const float* lse, const float* delta, float* dq, float* __restrict__ dk,
                        float* __restrict__ dv) {
  using Tiles = KeyTiles<K, kWithQueries>;
  using Shared = KeyShared<Tiles, kWithQueries>;
  constexpr int kRows = Tiles::kRows, kStep = Tiles::kStep;
  const int64_t g = blockIdx.y;
  const int u = static_cast<int>(blockIdx.x) * Tiles::kKeys, exist = keys_from(s, u, Tiles::kKeys);
  Bf16* const row_tiles = shared_memory<Bf16>();
  Bf16 *const k_tile = row_tiles + MetRows<Tiles>::kTiles, *const ds_tiles = k_tile + Tiles::kKey;
  const MetRows<Tiles> rows(s, static_cast<int>(g), u, exist,
                            *reinterpret_cast<typename MetRows<Tiles>::Shared*>(row_tiles + Shared::kTiles));
  if (rows.empty()) return;

  // The warp's values stay in registers, loaded by way of the shared memory of the row tiles. So do its keys, unless dq
  // is computed: then they stay in shared memory.
  const int mine = warp() * 16;
  LeftRows<K> key, value;
  const auto bring = [&](const Bf16* x, Bf16* tile) {
    using Copy = TileCopy<K, Tiles::kKeys, Tiles::kThreads>;
    Copy::ask(tile, exist,
              [&](int i) { return x + ((u + Copy::first_row() + i * Copy::kStep) * s.G + g) * K + Copy::column(); });
    commit();
    wait<0>();
    __syncthreads();
  };
  bring(v, row_tiles);
  value.load(Tile<K>(row_tiles), mine);
  __syncthreads();
  bring(k, kWithQueries ? k_tile : row_tiles);
  if constexpr (!kWithQueries) key.load(Tile<K>(row_tiles), mine);
  __syncthreads();

  float dk_sum[1][K / 8][4] = {}, dv_sum[1][K / 8][4] = {};
  const float scale = 1 / sqrtf(static_cast<float>(K));
  // The row tile t whose dS^T is in ds_tiles, and in which of the two buffers, as 2 t + buffer, to save a register.
  int held = -1;
  const auto add_held = [&] { add_query_gradient(rows, held >> 1, ds_tiles + (held & 1) * Shared::kDs, k_tile, dq); };
  rows.each_tile(q, d_o, lse, delta, row_tiles, [&](int t, const Tile<K>& tile, const auto& facts) {
    if constexpr (kWithQueries) {
      if (held >= 0) add_held();
      held = 2 * t + ((held & 1) ^ 1);
    }
    const Tile<K> keys(k_tile);
    ROPEWALK_UNROLL
    for (int step = 0; step < kRows; step += kStep) {
      float p[1][kStep / 8][4] = {}, ds[1][kStep / 8][4];
      if constexpr (kWithQueries) {
        add_product_of_rows<K>(
            p, [&](uint32_t(&a)[4], int, int column) { keys.load_left(a, mine, column); }, tile, step);
      } else {
        add_product_of_rows<K>(p, key, tile, step);
      }
      const int me = kWithQueries ? worked_out_here(lane()) : lane();
      const int row0 = step + me % 4 * 2;  // this thread's first row
      if (facts.masked) {
        const int key0 = kWithQueries ? worked_out_here(warp()) * 16 + worked_out_here(lane()) / 4
                                      : worked_out_here(mine + lane() / 4);
        ROPEWALK_UNROLL
        for (int column = 0; column < kStep / 8; ++column) {
          const Pack<int16_t, 2> begin = load<2>(facts.begin + row0 + column * 8),
                                 end = load<2>(facts.end + row0 + column * 8);
          for (int i = 0; i < 4; ++i) {
            const int at = key0 + i / 2 * 8;
            if ((at < begin.values[i % 2]) | (at >= end.values[i % 2])) p[0][column][i] = -INFINITY;
          }
        }
      }
      ROPEWALK_UNROLL
      for (int column = 0; column < kStep / 8; ++column) {
        const Pack<float, 2> begin = load<2>(facts.minus_delta + row0 + column * 8);
        for (int i = 0; i < 4; ++i) ds[0][column][i] = begin.values[i % 2];
      }
      add_product_of_rows<K>(ds, value, tile, kRows + step);
      ROPEWALK_UNROLL
      for (int column = 0; column < kStep / 8; ++column) {
        const Pack<float, 2> bases = load<2>(facts.base + row0 + column * 8);
        for (int i = 0; i < 4; ++i) {
          p[0][column][i] = exp2_flushed(fmaf(p[0][column][i], kLog2e * scale, -bases.values[i % 2]));
          ds[0][column][i] *= p[0][column][i];
        }
      }
      add_product<K>(dv_sum, p, tile, kRows + step);
      add_product<K>(dk_sum, ds, tile, step);
      if constexpr (kWithQueries) {
        const int row = mine + worked_out_here(lane()) / 4;
        for (int column = 0; column < kStep / 8; ++column)
          for (int i = 0; i < 2; ++i)
            store(Pack<Bf16, 2>{{rounded<Bf16>(ds[0][column][2 * i]), rounded<Bf16>(ds[0][column][2 * i + 1])}},
                  ds_tiles + (held & 1) * Shared::kDs + in_tile<kRows>(row + 8 * i, step + column * 8) + lane() % 4 * 2);
      }
    }
  });
  if constexpr (kWithQueries) {
    __syncthreads();
    add_held();
  }

  ROPEWALK_UNROLL
  for (int i = 0; i < 2; ++i) {
    const int me = worked_out_here(lane()), row = mine + me / 4 + 8 * i;
    if (row >= exist) continue;
    const int64_t at = ((u + row) * s.G + g) * K + me % 4 * 2;
    for (int column = 0; column < K / 8; ++column) {
      add_pair(dk + at + column * 8, scale, dk_sum[0][column][2 * i], dk_sum[0][column][2 * i + 1]);
      add_pair(dv + at + column * 8, 1, dv_sum[0][column][2 * i], dv_sum[0][column][2 * i + 1]);
    }
  }
}

}  // namespace

void CudaBackend::portable_attention_backward(const AttentionShape& s, const Tensor& q, const Tensor& k,
                                              const Tensor& v, const Tensor& d_o, const Tensor& lse,
                                              const Tensor& delta, const Tensor& dq, const Tensor& dk,
                                              const Tensor& dv) {
  with_head_size(s.K, [&](auto K) {
    const auto by_keys = [&](auto with_queries) {
      using ByKeys = KeyTiles<K(), with_queries()>;
      launch(runtime_,
             {blocks_for(s.U, ByKeys::kKeys), ByKeys::kThreads, s.G, KeyShared<ByKeys, with_queries()>::kBytes},
             key_gradient_kernel<K(), with_queries()>, s, at<Bf16>(q), at<Bf16>(k), at<Bf16>(v), at<Bf16>(d_o),
             at<float>(lse), at<float>(delta), at<float>(dq), at<float>(dk), at<float>(dv));
    };
    if (!deterministic_) return by_keys(std::true_type());
    using ByRows = QueryTiles<K()>;
    launch(runtime_, {blocks_for(s.T, ByRows::kRows / (s.H / s.G)), ByRows::kThreads, s.G, ByRows::kBytes},
           query_gradient_kernel<K()>, s, at<Bf16>(q), at<Bf16>(k), at<Bf16>(v), at<Bf16>(d_o), at<float>(lse),
           at<float>(delta), at<float>(dq));
    by_keys(std::false_type());
  });
}

}  // namespace ROPEWALK_CUDA

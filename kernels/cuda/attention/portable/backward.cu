// Attention's backward by tiles (Dao, arXiv 2307.08691): P is computed again from lse. Deterministic, it goes once by
// blocks of rows, for dq, and once by tiles of keys, for dk and dv: seven products, and no two blocks add to one place.
// Otherwise it goes by tiles of keys alone: five products, and dq is added to as blocks come.
#include "kernels/cuda/attention/online_softmax.h"
#include "kernels/cuda/attention/operands.h"
#include "kernels/cuda/attention/portable/row_block.h"
#include "kernels/cuda/cuda_backend.h"

namespace ROPEWALK_CUDA {
namespace {

// delta [rows] = rowsum(d_o * o) over K; K / 8 threads of a warp for each row
template <int K>
__global__ void delta_kernel(int64_t rows, const Bf16* d_o, const Bf16* o, float* delta) {
  const int64_t i = first_of_thread<8>(), row = i / K;
  float sum = 0;
  if (row < rows) {
    const Pack<Bf16, 8> left = load<8>(d_o + i), right = load<8>(o + i);
    for (int j = 0; j < 8; ++j) sum += widen(left.values[j]) * widen(right.values[j]);
  }
  for (int mask = K / 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(~0u, sum, mask);
  if (row < rows && i % K == 0) delta[row] = sum;
}

template <int K>
using QueryTiles = RowTiles<K, 2, 32, 2, 2, 2>;

// dq += dS k / sqrt(K),  dS = P * (do v^T - delta); a block for each (block of rows, key head)
template <int K>
__global__ void __launch_bounds__(QueryTiles<K>::kThreads, QueryTiles<K>::kBlocks)
    query_gradient_kernel(AttentionShape s, const Bf16* q, const Bf16* k, const Bf16* v, const Bf16* d_o,
                          const float* lse, const float* delta, float* dq) {
  using Tiles = QueryTiles<K>;
  const RowBlock<Tiles> block(s);
  if (block.empty()) return;
  Bf16 *const q_tile = shared_memory<Bf16>(), *const do_tile = q_tile + Tiles::kLeft;
  int* const bounds = reinterpret_cast<int*>(q_tile + Tiles::kTiles);
  block.copy_rows(q_tile, q);
  block.copy_rows(do_tile, d_o);

  float base[Tiles::kParts][2], delta_row[Tiles::kParts][2];
  for (int part = 0; part < Tiles::kParts; ++part)
    for (int i = 0; i < 2; ++i) {
      const int row = block.row(part, i);
      base[part][i] = block.exists(row) ? kLog2e * lse[block.at(row)] : 0;
      delta_row[part][i] = block.exists(row) ? delta[block.at(row)] : 0;
    }
  float out[Tiles::kParts][K / 8][4] = {};
  const float scale = 1 / sqrtf(static_cast<float>(K));
  block.each_tile(k, v, do_tile + Tiles::kLeft, bounds, [&](int u, const Bf16* keys, const Bf16* values) {
    float p[Tiles::kParts][Tiles::kKeys / 8][4] = {}, ds[Tiles::kParts][Tiles::kKeys / 8][4];
    block.add_product_of_rows(p, q_tile, keys);
    block.hide(p, u, bounds);
    ROPEWALK_UNROLL
    for (int part = 0; part < Tiles::kParts; ++part)
      for (int column = 0; column < Tiles::kKeys / 8; ++column)
        for (int i = 0; i < 4; ++i) ds[part][column][i] = -delta_row[part][i / 2];
    block.add_product_of_rows(ds, do_tile, values);
    ROPEWALK_UNROLL
    for (int part = 0; part < Tiles::kParts; ++part)
      for (int column = 0; column < Tiles::kKeys / 8; ++column)
        for (int i = 0; i < 4; ++i)
          ds[part][column][i] *= exp2_flushed(fmaf(p[part][column][i], kLog2e * scale, -base[part][i / 2]));
    add_product<K>(out, ds, keys);
  });

  ROPEWALK_UNROLL
  for (int part = 0; part < Tiles::kParts; ++part) {
    ROPEWALK_UNROLL
    for (int i = 0; i < 2; ++i) {
      const int row = block.row(part, i);
      if (!block.exists(row)) continue;
      float* to = dq + block.at(row) * K + lane() % 4 * 2;
      for (int column = 0; column < K / 8; ++column)
        add_pair(to + column * 8, scale, out[part][column][2 * i], out[part][column][2 * i + 1]);
    }
  }
}

// How the backward by tiles of keys is cut: 16 keys a warp, whose k and v stay in registers, as its two sums of K
// numbers a key do; kRows rows (t, r) at a time come through shared memory, of which kStep are computed at once.
template <int K_>
struct KeyTiles {
  static constexpr int K = K_, kWarps = K == 64 ? 4 : 8, kThreads = kWarps * kWarp, kKeys = 16 * kWarps;
  static constexpr int kRows = 64, kStep = 16, kStages = K == 64 ? 2 : 3, kBlocks = K == 64 ? 2 : 1;
  static constexpr int kRow = kRows * K, kKey = kKeys * K;  // numbers in a tile
};

// Of each row that is met. Keys are counted from the tile on.
template <int kRows>
struct alignas(16) RowFacts {
  float base[kRows], delta[kRows];
  int begin[kRows], end[kRows];  // of the keys that it sees; where masked
  bool masked;                   // not all rows see all keys
};

template <typename Tiles, bool kWithQueries>
struct KeyShared {
  static constexpr int kTiles =
      2 * Tiles::kStages * Tiles::kRow + (kWithQueries ? Tiles::kKey + Tiles::kKeys * Tiles::kRows : 0);
  static constexpr int64_t kBytes = kTiles * int64_t{sizeof(Bf16)} +
                                    Tiles::kStages * int64_t{sizeof(RowFacts<Tiles::kRows>)} +
                                    Tiles::kRows * int64_t{sizeof(int)};
};

// to [2] += (first, second), where other blocks may be adding too
__device__ __forceinline__ void add_pair_atomically(float* to, float first, float second) {
#if defined(ROPEWALK_CUDA_EMULATED)  // blocks run one after another
  add_pair(to, 1, first, second);
#elif __CUDA_ARCH__ >= 900
  atomicAdd(reinterpret_cast<float2*>(to), make_float2(first, second));
#else
  atomicAdd(to, first);
  atomicAdd(to + 1, second);
#endif
}

// dq += dS k / sqrt(K) for `count` rows, at `places`, and the keys of a tile; ds_tile [kKeys, kRows] is dS^T. Each warp
// has its K / kWarps columns of all rows.
template <typename Tiles>
__device__ __forceinline__ void add_query_gradient(const Bf16* ds_tile, const Bf16* k_tile, int count,
                                                   const int* places, float* dq) {
  constexpr int K = Tiles::K, kColumns = K / Tiles::kWarps;
  using Copy = TileCopy<K, Tiles::kRows, Tiles::kThreads>;
  const int first = warp() * kColumns;
  const float scale = 1 / sqrtf(static_cast<float>(K));
  ROPEWALK_UNROLL
  for (int row0 = 0; row0 < Tiles::kRows; row0 += 16) {
    float sum[1][kColumns / 8][4] = {};
    ROPEWALK_UNROLL
    for (int key = 0; key < Tiles::kKeys; key += 16) {
      uint32_t a[1][4];
      load_left_transposed<Tiles::kRows>(a[0], ds_tile, key, row0);
      add_columns(sum, a,
                  [&](uint32_t(&b)[4], int column) { load_right_transposed<K>(b, k_tile, key, first + column); });
    }
    for (int i = 0; i < 2; ++i) {
      const int row = row0 + lane() / 4 + 8 * i;
      if (row >= count) continue;
      float* to = dq + places[row % Copy::kStep * Copy::kCount + row / Copy::kStep] + first + lane() % 4 * 2;
      for (int column = 0; column < kColumns / 8; ++column)
        add_pair_atomically(to + column * 8, scale * sum[0][column][2 * i], scale * sum[0][column][2 * i + 1]);
    }
  }
}

// dv += P^T do,  dk += dS^T q / sqrt(K); a block for each (tile of keys, key head). What is computed is transposed:
// rows are keys. kWithQueries: dq as well, which is not touched otherwise.
template <int K, bool kWithQueries>
__global__ void __launch_bounds__(KeyTiles<K>::kThreads, KeyTiles<K>::kBlocks)
    key_gradient_kernel(AttentionShape s, const Bf16* q, const Bf16* k, const Bf16* v, const Bf16* d_o,
                        const float* lse, const float* delta, float* dq, float* dk, float* dv) {
  using Tiles = KeyTiles<K>;
  constexpr int kRows = Tiles::kRows, kThreads = Tiles::kThreads;
  const int64_t g = blockIdx.y;
  const int u = static_cast<int>(blockIdx.x) * Tiles::kKeys, exist = keys_from(s, u, Tiles::kKeys);
  const int R = static_cast<int>(s.H / s.G), per_tile = kRows / R;
  const Range met = queries_of_keys(s, u, exist), all = queries_of_all_keys(s, u, Tiles::kKeys);
  // Queries are counted in 32 bits too.
  const int t_begin = static_cast<int>(met.begin) / per_tile * per_tile, t_end = static_cast<int>(met.end);
  const int all_begin = static_cast<int>(all.begin), all_end = static_cast<int>(all.end);
  if (t_begin >= t_end) return;

  Bf16* const row_tiles = shared_memory<Bf16>();
  Bf16 *const k_tile = row_tiles + 2 * Tiles::kStages * Tiles::kRow, *const ds_tile = k_tile + Tiles::kKey;
  auto* const facts = reinterpret_cast<RowFacts<kRows>*>(row_tiles + KeyShared<Tiles, kWithQueries>::kTiles);
  int* const places = reinterpret_cast<int*>(facts + Tiles::kStages);  // of rows, from the first query's on

  // The warp's keys and values, by way of where rows come later.
  LeftRows<K> key, value;
  const auto keep = [&](LeftRows<K>& rows, const Bf16* x, Bf16* tile) {
    using Copy = TileCopy<K, Tiles::kKeys, kThreads>;
    Copy::ask(tile, exist,
              [&](int i) { return x + ((u + Copy::first_row() + i * Copy::kStep) * s.G + g) * K + Copy::column(); });
    commit();
    wait<0>();
    __syncthreads();
    rows.load(tile, warp() * 16);
  };
  keep(value, v, kWithQueries ? k_tile : row_tiles);
  __syncthreads();
  keep(key, k, kWithQueries ? k_tile : row_tiles);
  static_assert(kRows <= kThreads);
  const int mine = static_cast<int>(threadIdx.x);  // this thread's row, where there are so many
  using Copy = TileCopy<K, kRows, kThreads>;
  // Those of the rows that a thread copies stand together.
  if (mine < kRows)
    places[mine % Copy::kStep * Copy::kCount + mine / Copy::kStep] = static_cast<int>(mine / R * s.H + mine % R) * K;
  const int my_place = static_cast<int>(mine / R * s.H + mine % R);
  __syncthreads();

  const auto rows_from = [&](int t) {
    const int queries = static_cast<int>(s.T) - t;
    return (queries < per_tile ? queries : per_tile) * R;
  };
  float lse_coming = 0, delta_coming = 0;  // of this thread's row of the tile on its way
  const auto ask = [&](int t, int stage) {
    if (t < t_end) {
      const int count = rows_from(t);
      const int64_t from = t * s.H + g * R;  // in [T, H]
      Bf16* const to = row_tiles + stage * 2 * Tiles::kRow;
      Pack<int, 4> place[Copy::kCount / 4];
      ROPEWALK_UNROLL
      for (int i = 0; i < Copy::kCount; i += 4) place[i / 4] = load<4>(places + Copy::first_row() * Copy::kCount + i);
      const Bf16 *q_from = q + from * K, *do_from = d_o + from * K;
#ifdef __CUDACC__
      asm("" : "+l"(q_from));
      asm("" : "+l"(do_from));
#endif
      Copy::ask(to, count, [&](int i) { return q_from + (place[i / 4].values[i % 4] + Copy::column()); });
      Copy::ask(to + Tiles::kRow, count,
                [&](int i) { return do_from + (place[i / 4].values[i % 4] + Copy::column()); });
      if (mine < kRows) {
        const bool exists = mine < count;
        lse_coming = exists ? lse[from + my_place] : 0;
        delta_coming = exists ? delta[from + my_place] : 0;
        const bool masked = t < all_begin || t + per_tile > all_end;
        facts[stage].masked = masked;  // all write the same
        if (masked) {
          const Range seen = exists ? keys_of_query(s, t + mine / R) : Range{};
          facts[stage].begin[mine] = static_cast<int>(seen.begin) - u;
          facts[stage].end[mine] = static_cast<int>(seen.end) - u;
        }
      }
    }
    commit();
  };
  const auto note = [&](int stage) {
    if (mine < kRows) facts[stage].base[mine] = kLog2e * lse_coming, facts[stage].delta[mine] = delta_coming;
  };
  for (int stage = 0; stage < Tiles::kStages - 1; ++stage) {
    ask(t_begin + stage * per_tile, stage);
    note(stage);
  }

  float dk_sum[1][K / 8][4] = {}, dv_sum[1][K / 8][4] = {};
  const float scale = 1 / sqrtf(static_cast<float>(K));
  int stage = 0;
  for (int t = t_begin; t < t_end; t += per_tile) {
    wait<Tiles::kStages - 2>();
    __syncthreads();
    const int free = stage == 0 ? Tiles::kStages - 1 : stage - 1;
    ask(t + (Tiles::kStages - 1) * per_tile, free);

    const Bf16 *const q_tile = row_tiles + stage * 2 * Tiles::kRow, *const do_tile = q_tile + Tiles::kRow;
    const RowFacts<kRows>& fact = facts[stage];
    ROPEWALK_UNROLL
    for (int step = 0; step < kRows; step += Tiles::kStep) {
      float p[1][Tiles::kStep / 8][4] = {}, ds[1][Tiles::kStep / 8][4];
      if constexpr (kWithQueries)
        add_product_of_rows<K>(
            p, [&](uint32_t(&a)[4], int, int column) { load_left<K>(a, k_tile, warp() * 16, column); },
            q_tile + step * K);
      else
        add_product_of_rows<K>(p, key, q_tile + step * K);
      if (fact.masked) {
        ROPEWALK_UNROLL
        for (int column = 0; column < Tiles::kStep / 8; ++column) {
          const int row = step + column * 8 + lane() % 4 * 2;
          const Pack<int, 2> begin = load<2>(fact.begin + row), end = load<2>(fact.end + row);
          for (int i = 0; i < 4; ++i) {
            const int at = warp() * 16 + lane() / 4 + i / 2 * 8;
            if ((at < begin.values[i % 2]) | (at >= end.values[i % 2])) p[0][column][i] = -INFINITY;
          }
        }
      }
      ROPEWALK_UNROLL
      for (int column = 0; column < Tiles::kStep / 8; ++column) {
        const Pack<float, 2> deltas = load<2>(fact.delta + step + column * 8 + lane() % 4 * 2);
        for (int i = 0; i < 4; ++i) ds[0][column][i] = -deltas.values[i % 2];
      }
      add_product_of_rows<K>(ds, value, do_tile + step * K);
      ROPEWALK_UNROLL
      for (int column = 0; column < Tiles::kStep / 8; ++column) {
        const Pack<float, 2> bases = load<2>(fact.base + step + column * 8 + lane() % 4 * 2);
        for (int i = 0; i < 4; ++i) {
          p[0][column][i] = exp2_flushed(fmaf(p[0][column][i], kLog2e * scale, -bases.values[i % 2]));
          ds[0][column][i] *= p[0][column][i];
        }
      }
      add_product<K>(dv_sum, p, do_tile + step * K);
      add_product<K>(dk_sum, ds, q_tile + step * K);
      if constexpr (kWithQueries)
        for (int column = 0; column < Tiles::kStep / 8; ++column)
          for (int i = 0; i < 2; ++i) {
            const int at = warp() * 16 + lane() / 4 + 8 * i;
            store(Pack<Bf16, 2>{{rounded<Bf16>(ds[0][column][2 * i]), rounded<Bf16>(ds[0][column][2 * i + 1])}},
                  ds_tile + in_tile<kRows>(at, step + column * 8) + lane() % 4 * 2);
          }
    }
    if constexpr (kWithQueries) {
      __syncthreads();
      add_query_gradient<Tiles>(ds_tile, k_tile, rows_from(t), places, dq + (t * s.H + g * R) * K);
    }
    note(free);
    stage = stage == Tiles::kStages - 1 ? 0 : stage + 1;
  }

  ROPEWALK_UNROLL
  for (int i = 0; i < 2; ++i) {
    const int row = warp() * 16 + lane() / 4 + 8 * i;
    if (row >= exist) continue;
    const int64_t at = ((u + row) * s.G + g) * K + lane() % 4 * 2;
    for (int column = 0; column < K / 8; ++column) {
      add_pair(dk + at + column * 8, scale, dk_sum[0][column][2 * i], dk_sum[0][column][2 * i + 1]);
      add_pair(dv + at + column * 8, 1, dv_sum[0][column][2 * i], dv_sum[0][column][2 * i + 1]);
    }
  }
}

}  // namespace

void CudaBackend::attention_delta(const Tensor& d_o, const Tensor& o, const Tensor& delta) {
  check_heads(d_o.extent(2), {d_o, o});
  const int64_t rows = delta.elements();
  with_head_size(d_o.extent(2), [&](auto K) {
    launch(runtime_, {blocks_for(rows * K(), kThreads * 8), kThreads}, delta_kernel<K()>, rows, at<Bf16>(d_o),
           at<Bf16>(o), at<float>(delta));
  });
}

void CudaBackend::portable_attention_backward(const AttentionShape& s, const Tensor& q, const Tensor& k,
                                              const Tensor& v, const Tensor& d_o, const Tensor& lse,
                                              const Tensor& delta, const Tensor& dq, const Tensor& dk,
                                              const Tensor& dv) {
  with_head_size(s.K, [&](auto K) {
    using ByKeys = KeyTiles<K()>;
    const auto by_keys = [&](auto with_queries) {
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

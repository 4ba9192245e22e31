// Attention's backward by tiles (Dao, arXiv 2307.08691): P is computed again from lse. Deterministic, it goes once by
// blocks of rows, for dq, and once by tiles of keys, for dk and dv: seven products, and no two blocks add to one place.
// Otherwise it goes by tiles of keys alone: five products, and dq is added to as blocks come.
#include "kernels/cuda/attention/online_softmax.h"
#include "kernels/cuda/attention/operands.h"
#include "kernels/cuda/attention/tiles.h"
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
constexpr int64_t kQueryBytes = (2 * PortableTiles<K>::kRows + 4 * PortableTiles<K>::kKeys) * K* int64_t{sizeof(Bf16)};

// dq += dS k / sqrt(K),  dS = P * (do v^T - delta); a block for each (block of rows, key head)
template <int K>
__global__ void __launch_bounds__(PortableTiles<K>::kThreads)
    query_gradient_kernel(AttentionShape s, const Bf16* q, const Bf16* k, const Bf16* v, const Bf16* d_o,
                          const float* lse, const float* delta, float* dq) {
  using Tiles = PortableTiles<K>;
  const int64_t g = blockIdx.y, per_block = Tiles::kRows / (s.H / s.G);
  const Rows<Tiles::kRows> rows(s, (int64_t{gridDim.x} - 1 - blockIdx.x) * per_block);
  const Range first = keys_of_query(s, rows.t0), last = keys_of_query(s, rows.t0 + rows.queries - 1);
  if (first.begin >= last.end) return;

  Bf16* q_tile = shared_memory<Bf16>();
  Bf16 *do_tile = q_tile + Tiles::kRows * K, *k_tiles = do_tile + Tiles::kRows * K,
       *v_tiles = k_tiles + 2 * Tiles::kKeys * K;
  const auto ask_for_keys = [&](int64_t u, int stage) {
    copy_keys<Tiles>(s, g, u, k, v, k_tiles + stage * Tiles::kKeys * K, v_tiles + stage * Tiles::kKeys * K);
    commit();
  };
  const int64_t begin = first.begin / Tiles::kKeys * Tiles::kKeys;
  copy_tile<Tiles>(q_tile, Tiles::kRows, rows.count(), [&](int row) { return q + rows.at(s, g, row) * K; });
  copy_tile<Tiles>(do_tile, Tiles::kRows, rows.count(), [&](int row) { return d_o + rows.at(s, g, row) * K; });
  ask_for_keys(begin, 0);

  const int row0 = warp() * Tiles::kWarpRows + lane() / 4;
  const Range seen[2] = {keys_of_row(s, rows, row0), keys_of_row(s, rows, row0 + 8)};
  float base[2], delta_row[2];
  for (int i = 0; i < 2; ++i) {
    const int row = row0 + 8 * i;
    const bool exists = row < rows.count();
    base[i] = exists ? kLog2e * lse[rows.at(s, g, row)] : 0;
    delta_row[i] = exists ? delta[rows.at(s, g, row)] : 0;
  }
  float out[K / 8][4] = {};
  const float scale = 1 / sqrtf(static_cast<float>(K));

  int stage = 0;
  for (int64_t u = begin; u < last.end; u += Tiles::kKeys, stage ^= 1) {
    if (u + Tiles::kKeys < last.end)
      ask_for_keys(u + Tiles::kKeys, stage ^ 1);
    else
      commit();
    wait<1>();
    __syncthreads();

    const Bf16 *keys = k_tiles + stage * Tiles::kKeys * K, *values = v_tiles + stage * Tiles::kKeys * K;
    float p[Tiles::kKeys / 8][4], ds[Tiles::kKeys / 8][4];
    multiply_tiles<K, Tiles::kKeys>(p, q_tile, warp() * Tiles::kWarpRows, keys);
    multiply_tiles<K, Tiles::kKeys>(ds, do_tile, warp() * Tiles::kWarpRows, values);
    for (int part = 0; part < Tiles::kKeys / 8; ++part)
      for (int i = 0; i < 4; ++i) {
        const int64_t key = u + part * 8 + lane() % 4 * 2 + i % 2;
        const bool visible = key >= seen[i / 2].begin && key < seen[i / 2].end;
        const float weight = visible ? exp2f(kLog2e * scale * p[part][i] - base[i / 2]) : 0;
        ds[part][i] = weight * (ds[part][i] - delta_row[i / 2]);
      }
    add_product<K, Tiles::kKeys>(out, ds, keys);
    __syncthreads();
  }

  for (int i = 0; i < 2; ++i) {
    const int row = row0 + 8 * i;
    if (row >= rows.count()) continue;
    for (int part = 0; part < K / 8; ++part) {
      float* to = dq + rows.at(s, g, row) * K + part * 8 + lane() % 4 * 2;
      add_pair(to, scale, out[part][2 * i], out[part][2 * i + 1]);
    }
  }
}

// Of each row that is met.
template <int kRows>
struct RowFacts {
  float base[kRows], delta[kRows];
  Range seen[kRows];
};

template <int K, bool kWithQueries>
constexpr int64_t kKeyBytes = (2 * PortableTiles<K>::kKeys * K + 4 * PortableTiles<K>::kMetRows * K +
                               (kWithQueries ? PortableTiles<K>::kKeys * PortableTiles<K>::kMetRows : 0)) *
                                  int64_t{sizeof(Bf16)} +
                              2 * int64_t{sizeof(RowFacts<PortableTiles<K>::kMetRows>)};

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

// dq += dS k / sqrt(K) for the rows of `rows` and the keys of a tile; ds_tile [Tiles::kKeys, Tiles::kMetRows] is dS^T.
// Each warp has its K / Tiles::kWarps columns of all rows.
template <int K>
__device__ __forceinline__ void add_query_gradient(const AttentionShape& s, int64_t g,
                                                   const Rows<PortableTiles<K>::kMetRows>& rows, const Bf16* ds_tile,
                                                   const Bf16* k_tile, float* dq) {
  using Tiles = PortableTiles<K>;
  constexpr int kColumns = K / Tiles::kWarps;
  const int first = warp() * kColumns;
  const float scale = 1 / sqrtf(static_cast<float>(K));
  for (int row0 = 0; row0 < rows.count(); row0 += Tiles::kWarpRows) {
    float sum[kColumns / 8][4] = {};
    ROPEWALK_UNROLL
    for (int key = 0; key < Tiles::kKeys; key += 16) {
      uint32_t a[4];
      load_left_transposed<Tiles::kMetRows>(a, ds_tile, key, row0);
      add_columns(sum, a,
                  [&](uint32_t(&b)[4], int column) { load_right_transposed<K>(b, k_tile, key, first + column); });
    }
    for (int i = 0; i < 2; ++i) {
      const int row = row0 + lane() / 4 + 8 * i;
      if (row >= rows.count()) continue;
      float* to = dq + rows.at(s, g, row) * K + first + lane() % 4 * 2;
      for (int part = 0; part < kColumns / 8; ++part)
        add_pair_atomically(to + part * 8, scale * sum[part][2 * i], scale * sum[part][2 * i + 1]);
    }
  }
}

// dv += P^T do,  dk += dS^T q / sqrt(K); a block for each (tile of keys, key head). What is computed is transposed:
// rows are keys. kWithQueries: dq as well, which is not touched otherwise.
template <int K, bool kWithQueries>
__global__ void __launch_bounds__(PortableTiles<K>::kThreads)
    key_gradient_kernel(AttentionShape s, const Bf16* q, const Bf16* k, const Bf16* v, const Bf16* d_o,
                        const float* lse, const float* delta, float* dq, float* dk, float* dv) {
  using Tiles = PortableTiles<K>;
  const int64_t g = blockIdx.y, u = int64_t{blockIdx.x} * Tiles::kKeys, per_block = Tiles::kMetRows / (s.H / s.G);
  const int exist = keys_from(s, u, Tiles::kKeys);
  const Range met = queries_of_keys(s, u, exist);
  const int64_t t0 = met.begin / per_block * per_block, t_end = met.end;
  if (t0 >= t_end) return;

  Bf16* k_tile = shared_memory<Bf16>();
  Bf16 *v_tile = k_tile + Tiles::kKeys * K, *q_tiles = v_tile + Tiles::kKeys * K,
       *do_tiles = q_tiles + 2 * Tiles::kMetRows * K, *ds_tile = do_tiles + 2 * Tiles::kMetRows * K;
  auto* facts =
      reinterpret_cast<RowFacts<Tiles::kMetRows>*>(ds_tile + (kWithQueries ? Tiles::kKeys * Tiles::kMetRows : 0));
  const auto ask_for_rows = [&](int64_t t, int stage) {
    const Rows<Tiles::kMetRows> rows(s, t);
    copy_tile<Tiles>(q_tiles + stage * Tiles::kMetRows * K, Tiles::kMetRows, rows.count(),
                     [&](int row) { return q + rows.at(s, g, row) * K; });
    copy_tile<Tiles>(do_tiles + stage * Tiles::kMetRows * K, Tiles::kMetRows, rows.count(),
                     [&](int row) { return d_o + rows.at(s, g, row) * K; });
    commit();
    const int row = static_cast<int>(threadIdx.x);
    if (row >= Tiles::kMetRows) return;
    const bool exists = row < rows.count();
    facts[stage].base[row] = exists ? kLog2e * lse[rows.at(s, g, row)] : 0;
    facts[stage].delta[row] = exists ? delta[rows.at(s, g, row)] : 0;
    facts[stage].seen[row] = keys_of_row(s, rows, row);
  };
  copy_keys<Tiles>(s, g, u, k, v, k_tile, v_tile);
  ask_for_rows(t0, 0);

  float dk_sum[K / 8][4] = {}, dv_sum[K / 8][4] = {};
  const float scale = 1 / sqrtf(static_cast<float>(K));
  int stage = 0;
  for (int64_t t = t0; t < t_end; t += per_block, stage ^= 1) {
    if (t + per_block < t_end)
      ask_for_rows(t + per_block, stage ^ 1);
    else
      commit();
    wait<1>();
    __syncthreads();

    const Bf16 *queries = q_tiles + stage * Tiles::kMetRows * K, *dos = do_tiles + stage * Tiles::kMetRows * K;
    const RowFacts<Tiles::kMetRows>& fact = facts[stage];
    float p[Tiles::kMetRows / 8][4], ds[Tiles::kMetRows / 8][4];
    multiply_tiles<K, Tiles::kMetRows>(p, k_tile, warp() * Tiles::kWarpRows, queries);
    multiply_tiles<K, Tiles::kMetRows>(ds, v_tile, warp() * Tiles::kWarpRows, dos);
    for (int part = 0; part < Tiles::kMetRows / 8; ++part)
      for (int i = 0; i < 4; ++i) {
        const int64_t key = u + warp() * Tiles::kWarpRows + lane() / 4 + i / 2 * 8;
        const int row = part * 8 + lane() % 4 * 2 + i % 2;
        const bool visible = key >= fact.seen[row].begin && key < fact.seen[row].end;
        p[part][i] = visible ? exp2f(kLog2e * scale * p[part][i] - fact.base[row]) : 0;
        ds[part][i] = p[part][i] * (ds[part][i] - fact.delta[row]);
      }
    add_product<K, Tiles::kMetRows>(dv_sum, p, dos);
    add_product<K, Tiles::kMetRows>(dk_sum, ds, queries);
    if constexpr (kWithQueries) {
      for (int part = 0; part < Tiles::kMetRows / 8; ++part)
        for (int i = 0; i < 2; ++i) {
          const int key = warp() * Tiles::kWarpRows + lane() / 4 + 8 * i;
          store(Pack<Bf16, 2>{{rounded<Bf16>(ds[part][2 * i]), rounded<Bf16>(ds[part][2 * i + 1])}},
                ds_tile + in_tile<Tiles::kMetRows>(key, part * 8) + lane() % 4 * 2);
        }
      __syncthreads();
      add_query_gradient<K>(s, g, Rows<Tiles::kMetRows>(s, t), ds_tile, k_tile, dq);
    }
    __syncthreads();
  }

  for (int i = 0; i < 2; ++i) {
    const int key = warp() * Tiles::kWarpRows + lane() / 4 + 8 * i;
    if (key >= exist) continue;
    for (int part = 0; part < K / 8; ++part) {
      const int64_t at = ((u + key) * s.G + g) * K + part * 8 + lane() % 4 * 2;
      add_pair(dk + at, scale, dk_sum[part][2 * i], dk_sum[part][2 * i + 1]);
      add_pair(dv + at, 1, dv_sum[part][2 * i], dv_sum[part][2 * i + 1]);
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
    using Tiles = PortableTiles<K()>;
    const auto by_keys = [&](auto with_queries) {
      launch(runtime_, {blocks_for(s.U, Tiles::kKeys), Tiles::kThreads, s.G, kKeyBytes<K(), with_queries()>},
             key_gradient_kernel<K(), with_queries()>, s, at<Bf16>(q), at<Bf16>(k), at<Bf16>(v), at<Bf16>(d_o),
             at<float>(lse), at<float>(delta), at<float>(dq), at<float>(dk), at<float>(dv));
    };
    if (!deterministic_) return by_keys(std::true_type());
    launch(runtime_, {blocks_for(s.T, Tiles::kRows / (s.H / s.G)), Tiles::kThreads, s.G, kQueryBytes<K()>},
           query_gradient_kernel<K()>, s, at<Bf16>(q), at<Bf16>(k), at<Bf16>(v), at<Bf16>(d_o), at<float>(lse),
           at<float>(delta), at<float>(dq));
    by_keys(std::false_type());
  });
}

}  // namespace ROPEWALK_CUDA

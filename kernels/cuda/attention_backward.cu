// Attention's backward by tiles (Dao, arXiv 2307.08691): P is computed again from lse. Deterministic, it goes once by
// blocks of rows, for dq, and once by tiles of keys, for dk and dv: seven products, and no two blocks add to one place.
// Otherwise it goes by tiles of keys alone: five products, and dq is added to as blocks come.
#include "kernels/cuda/attention_tiles.h"

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
constexpr int64_t kQueryBytes = (2 * kTileRows + 4 * kTileKeys) * K* int64_t{sizeof(Bf16)};

// dq += dS k / sqrt(K),  dS = P * (do v^T - delta); a block for each (block of rows, key head)
template <int K>
__global__ void __launch_bounds__(kWarps* kWarp)
    query_gradient_kernel(AttentionShape s, const Bf16* q, const Bf16* k, const Bf16* v, const Bf16* d_o,
                          const float* lse, const float* delta, float* dq) {
  const int64_t g = blockIdx.y, per_block = kTileRows / (s.H / s.G);
  const Rows<kTileRows> rows(s, (int64_t{gridDim.x} - 1 - blockIdx.x) * per_block);
  const Range first = keys_of_query(s, rows.t0), last = keys_of_query(s, rows.t0 + rows.queries - 1);
  if (first.begin >= last.end) return;

  Bf16* q_tile = shared_memory<Bf16>();
  Bf16 *do_tile = q_tile + kTileRows * K, *k_tiles = do_tile + kTileRows * K, *v_tiles = k_tiles + 2 * kTileKeys * K;
  const auto ask_for_keys = [&](int64_t u, int stage) {
    copy_keys<K>(s, g, u, k, v, k_tiles + stage * kTileKeys * K, v_tiles + stage * kTileKeys * K);
    commit();
  };
  const int64_t begin = first.begin / kTileKeys * kTileKeys;
  copy_tile<K>(q_tile, kTileRows, rows.count(), [&](int row) { return q + rows.at(s, g, row) * K; });
  copy_tile<K>(do_tile, kTileRows, rows.count(), [&](int row) { return d_o + rows.at(s, g, row) * K; });
  ask_for_keys(begin, 0);

  const int row0 = warp() * kWarpRows + lane() / 4;
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
  for (int64_t u = begin; u < last.end; u += kTileKeys, stage ^= 1) {
    if (u + kTileKeys < last.end)
      ask_for_keys(u + kTileKeys, stage ^ 1);
    else
      commit();
    wait<1>();
    __syncthreads();

    const Bf16 *keys = k_tiles + stage * kTileKeys * K, *values = v_tiles + stage * kTileKeys * K;
    float p[kTileKeys / 8][4], ds[kTileKeys / 8][4];
    multiply_tiles<K, kTileKeys>(p, q_tile, warp() * kWarpRows, keys);
    multiply_tiles<K, kTileKeys>(ds, do_tile, warp() * kWarpRows, values);
    for (int part = 0; part < kTileKeys / 8; ++part)
      for (int i = 0; i < 4; ++i) {
        const int64_t key = u + part * 8 + lane() % 4 * 2 + i % 2;
        const bool visible = key >= seen[i / 2].begin && key < seen[i / 2].end;
        const float weight = visible ? exp2f(kLog2e * scale * p[part][i] - base[i / 2]) : 0;
        ds[part][i] = weight * (ds[part][i] - delta_row[i / 2]);
      }
    add_product<K, kTileKeys>(out, ds, keys);
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

// Rows that a tile of keys meets at a time: fewer than kTileRows, as its two sums of K numbers a key fill the
// registers.
constexpr int kMetRows = 32;

// Of each row that is met.
struct RowFacts {
  float base[kMetRows], delta[kMetRows];
  Range seen[kMetRows];
};

template <int K, bool kWithQueries>
constexpr int64_t kKeyBytes =
    (2 * kTileKeys * K + 4 * kMetRows * K + (kWithQueries ? kTileKeys * kMetRows : 0)) * int64_t{sizeof(Bf16)} +
    2 * int64_t{sizeof(RowFacts)};

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

// dq += dS k / sqrt(K) for the rows of `rows` and the keys of a tile; ds_tile [kTileKeys, kMetRows] is dS^T. Each warp
// has its K / kWarps columns of all rows.
template <int K>
__device__ __forceinline__ void add_query_gradient(const AttentionShape& s, int64_t g, const Rows<kMetRows>& rows,
                                                   const Bf16* ds_tile, const Bf16* k_tile, float* dq) {
  constexpr int kColumns = K / kWarps;
  const int first = warp() * kColumns;
  const float scale = 1 / sqrtf(static_cast<float>(K));
  for (int row0 = 0; row0 < rows.count(); row0 += kWarpRows) {
    float sum[kColumns / 8][4] = {};
    ROPEWALK_UNROLL
    for (int key = 0; key < kTileKeys; key += 16) {
      uint32_t a[4];
      load_left_transposed<kMetRows>(a, ds_tile, key, row0);
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
__global__ void __launch_bounds__(kWarps* kWarp)
    key_gradient_kernel(AttentionShape s, const Bf16* q, const Bf16* k, const Bf16* v, const Bf16* d_o,
                        const float* lse, const float* delta, float* dq, float* dk, float* dv) {
  const int64_t g = blockIdx.y, u = int64_t{blockIdx.x} * kTileKeys, per_block = kMetRows / (s.H / s.G);
  const int exist = keys_from(s, u);
  const Range met = queries_of_keys(s, u, exist);
  const int64_t t0 = met.begin / per_block * per_block, t_end = met.end;
  if (t0 >= t_end) return;

  Bf16* k_tile = shared_memory<Bf16>();
  Bf16 *v_tile = k_tile + kTileKeys * K, *q_tiles = v_tile + kTileKeys * K, *do_tiles = q_tiles + 2 * kMetRows * K,
       *ds_tile = do_tiles + 2 * kMetRows * K;
  auto* facts = reinterpret_cast<RowFacts*>(ds_tile + (kWithQueries ? kTileKeys * kMetRows : 0));
  const auto ask_for_rows = [&](int64_t t, int stage) {
    const Rows<kMetRows> rows(s, t);
    copy_tile<K>(q_tiles + stage * kMetRows * K, kMetRows, rows.count(),
                 [&](int row) { return q + rows.at(s, g, row) * K; });
    copy_tile<K>(do_tiles + stage * kMetRows * K, kMetRows, rows.count(),
                 [&](int row) { return d_o + rows.at(s, g, row) * K; });
    commit();
    const int row = static_cast<int>(threadIdx.x);
    if (row >= kMetRows) return;
    const bool exists = row < rows.count();
    facts[stage].base[row] = exists ? kLog2e * lse[rows.at(s, g, row)] : 0;
    facts[stage].delta[row] = exists ? delta[rows.at(s, g, row)] : 0;
    facts[stage].seen[row] = keys_of_row(s, rows, row);
  };
  copy_keys<K>(s, g, u, k, v, k_tile, v_tile);
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

    const Bf16 *queries = q_tiles + stage * kMetRows * K, *dos = do_tiles + stage * kMetRows * K;
    const RowFacts& fact = facts[stage];
    float p[kMetRows / 8][4], ds[kMetRows / 8][4];
    multiply_tiles<K, kMetRows>(p, k_tile, warp() * kWarpRows, queries);
    multiply_tiles<K, kMetRows>(ds, v_tile, warp() * kWarpRows, dos);
    for (int part = 0; part < kMetRows / 8; ++part)
      for (int i = 0; i < 4; ++i) {
        const int64_t key = u + warp() * kWarpRows + lane() / 4 + i / 2 * 8;
        const int row = part * 8 + lane() % 4 * 2 + i % 2;
        const bool visible = key >= fact.seen[row].begin && key < fact.seen[row].end;
        p[part][i] = visible ? exp2f(kLog2e * scale * p[part][i] - fact.base[row]) : 0;
        ds[part][i] = p[part][i] * (ds[part][i] - fact.delta[row]);
      }
    add_product<K, kMetRows>(dv_sum, p, dos);
    add_product<K, kMetRows>(dk_sum, ds, queries);
    if constexpr (kWithQueries) {
      for (int part = 0; part < kMetRows / 8; ++part)
        for (int i = 0; i < 2; ++i) {
          const int key = warp() * kWarpRows + lane() / 4 + 8 * i;
          store(Pack<Bf16, 2>{{rounded<Bf16>(ds[part][2 * i]), rounded<Bf16>(ds[part][2 * i + 1])}},
                ds_tile + in_tile<kMetRows>(key, part * 8) + lane() % 4 * 2);
        }
      __syncthreads();
      add_query_gradient<K>(s, g, Rows<kMetRows>(s, t), ds_tile, k_tile, dq);
    }
    __syncthreads();
  }

  for (int i = 0; i < 2; ++i) {
    const int key = warp() * kWarpRows + lane() / 4 + 8 * i;
    if (key >= exist) continue;
    for (int part = 0; part < K / 8; ++part) {
      const int64_t at = ((u + key) * s.G + g) * K + part * 8 + lane() % 4 * 2;
      add_pair(dk + at, scale, dk_sum[part][2 * i], dk_sum[part][2 * i + 1]);
      add_pair(dv + at, 1, dv_sum[part][2 * i], dv_sum[part][2 * i + 1]);
    }
  }
}

}  // namespace

void attention_delta(const Runtime& runtime, int64_t rows, int64_t K, const Bf16* d_o, const Bf16* o, float* delta) {
  with_head_size(K, [&](auto size) {
    launch(runtime, {blocks_for(rows * size(), kThreads * 8), kThreads}, delta_kernel<size()>, rows, d_o, o, delta);
  });
}

void attention_backward(const Runtime& runtime, const AttentionShape& s, const Bf16* q, const Bf16* k, const Bf16* v,
                        const Bf16* d_o, const float* lse, const float* delta, float* dq, float* dk, float* dv,
                        bool deterministic) {
  const int64_t per_block = kTileRows / (s.H / s.G);
  with_head_size(s.K, [&](auto K) {
    const auto by_keys = [&](auto with_queries) {
      launch(runtime, {blocks_for(s.U, kTileKeys), kWarps * kWarp, s.G, kKeyBytes<K(), with_queries()>},
             key_gradient_kernel<K(), with_queries()>, s, q, k, v, d_o, lse, delta, dq, dk, dv);
    };
    if (!deterministic) return by_keys(std::true_type());
    launch(runtime, {blocks_for(s.T, per_block), kWarps * kWarp, s.G, kQueryBytes<K()>}, query_gradient_kernel<K()>, s,
           q, k, v, d_o, lse, delta, dq);
    by_keys(std::false_type());
  });
}

}  // namespace ROPEWALK_CUDA

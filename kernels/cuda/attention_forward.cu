// Attention's forward by tiles (Dao, arXiv 2307.08691), merged into (o, lse). Scores exist one tile at a time, in
// registers and in units of log 2.
#include "kernels/cuda/attention_tiles.h"

namespace ROPEWALK_CUDA {
namespace {

template <int K>
constexpr int64_t kForwardBytes = (kTileRows + 4 * kTileKeys) * K* int64_t{sizeof(Bf16)};

// A block for each (block of rows, key head); the blocks that see the most keys begin first.
template <int K>
__global__ void __launch_bounds__(kWarps* kWarp)
    attention_forward_kernel(AttentionShape s, const Bf16* q, const Bf16* k, const Bf16* v, float* o, float* lse) {
  const int64_t g = blockIdx.y, per_block = kTileRows / (s.H / s.G);
  const Rows<kTileRows> rows(s, (int64_t{gridDim.x} - 1 - blockIdx.x) * per_block);
  const Range first = keys_of_query(s, rows.t0), last = keys_of_query(s, rows.t0 + rows.queries - 1);
  if (first.begin >= last.end) return;

  Bf16* q_tile = shared_memory<Bf16>();
  Bf16 *k_tiles = q_tile + kTileRows * K, *v_tiles = k_tiles + 2 * kTileKeys * K;
  const auto ask_for_keys = [&](int64_t u, int stage) {
    copy_keys<K>(s, g, u, k, v, k_tiles + stage * kTileKeys * K, v_tiles + stage * kTileKeys * K);
    commit();
  };
  const int64_t begin = first.begin / kTileKeys * kTileKeys;
  copy_tile<K>(q_tile, kTileRows, rows.count(), [&](int row) { return q + rows.at(s, g, row) * K; });
  ask_for_keys(begin, 0);

  // This thread's two rows, 8 apart: what they see, their largest score so far, their sum of exponentials here.
  const int row0 = warp() * kWarpRows + lane() / 4;
  const Range seen[2] = {keys_of_row(s, rows, row0), keys_of_row(s, rows, row0 + 8)};
  float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {};
  float out[K / 8][4] = {};
  const float scale = kLog2e / sqrtf(static_cast<float>(K));

  int stage = 0;
  for (int64_t u = begin; u < last.end; u += kTileKeys, stage ^= 1) {
    if (u + kTileKeys < last.end)
      ask_for_keys(u + kTileKeys, stage ^ 1);
    else
      commit();  // of nothing, so that one newer group is on its way here too
    wait<1>();
    __syncthreads();

    float score[kTileKeys / 8][4];
    multiply_tiles<K, kTileKeys>(score, q_tile, warp() * kWarpRows, k_tiles + stage * kTileKeys * K);
    const bool whole = u >= last.begin && u + kTileKeys <= first.end;
    float tile_largest[2] = {-INFINITY, -INFINITY};
    for (int part = 0; part < kTileKeys / 8; ++part)
      for (int i = 0; i < 4; ++i) {
        float& x = score[part][i];
        x *= scale;
        const int64_t key = u + part * 8 + lane() % 4 * 2 + i % 2;
        if (!whole && (key < seen[i / 2].begin || key >= seen[i / 2].end)) x = -INFINITY;
        tile_largest[i / 2] = fmaxf(tile_largest[i / 2], x);
      }
    float base[2];
    for (int i = 0; i < 2; ++i) {
      for (int mask = 1; mask <= 2; mask *= 2)
        tile_largest[i] = fmaxf(tile_largest[i], __shfl_xor_sync(~0u, tile_largest[i], mask));
      const float now = fmaxf(largest[i], tile_largest[i]);
      base[i] = now == -INFINITY ? 0 : now;
      const float shrink = exp2f(largest[i] - base[i]);
      largest[i] = now;
      sum[i] *= shrink;
      for (auto& part : out) {
        part[2 * i] *= shrink;
        part[2 * i + 1] *= shrink;
      }
    }
    for (auto& part : score)
      for (int i = 0; i < 4; ++i) {
        part[i] = exp2f(part[i] - base[i / 2]);
        sum[i / 2] += part[i];
      }
    add_product<K, kTileKeys>(out, score, v_tiles + stage * kTileKeys * K);
    __syncthreads();  // before the next keys come to the other stage's place
  }

  // L = log(exp(lse) + exp(lse')),  o = exp(lse - L) o + exp(lse' - L) o'
  for (int i = 0; i < 2; ++i) {
    for (int mask = 1; mask <= 2; mask *= 2) sum[i] += __shfl_xor_sync(~0u, sum[i], mask);
    const int row = row0 + 8 * i;
    const bool mine = row < rows.count() && sum[i] != 0;  // 0: sees none of these keys
    const int64_t at = mine ? rows.at(s, g, row) : 0;
    const float before = mine ? lse[at] : 0, piece = kLn2 * largest[i] + logf(sum[i]);
    __syncwarp();  // all of the row have read lse before one of them writes it
    if (!mine) continue;
    const bool is_first = before == -INFINITY;
    const float larger = fmaxf(before, piece);
    const float all = is_first ? piece : larger + logf(expf(before - larger) + expf(piece - larger));
    const float keep = is_first ? 0 : expf(before - all), take = (is_first ? 1 : expf(piece - all)) / sum[i];
    for (int part = 0; part < K / 8; ++part) {
      float* to = o + at * K + part * 8 + lane() % 4 * 2;
      Pack<float, 2> pair = {{take * out[part][2 * i], take * out[part][2 * i + 1]}};
      if (!is_first) {
        const Pack<float, 2> old = load<2>(to);
        for (int j = 0; j < 2; ++j) pair.values[j] += keep * old.values[j];
      }
      store(pair, to);
    }
    if (lane() % 4 == 0) lse[at] = all;
  }
}

}  // namespace

void attention_forward(const Runtime& runtime, const AttentionShape& s, const Bf16* q, const Bf16* k, const Bf16* v,
                       float* o, float* lse) {
  const int64_t per_block = kTileRows / (s.H / s.G);
  with_head_size(s.K, [&](auto K) {
    launch(runtime, {blocks_for(s.T, per_block), kWarps * kWarp, s.G, kForwardBytes<K()>},
           attention_forward_kernel<K()>, s, q, k, v, o, lse);
  });
}

}  // namespace ROPEWALK_CUDA

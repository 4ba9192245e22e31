// Attention's forward on Hopper (Shah et al., FlashAttention-3, arXiv 2407.08608). One producer thread issues the loads
// of tiles, consumer warpgroups multiply them. While the tensor cores work for one warpgroup, another computes its
// softmax. Each warpgroup issues q k^T of the next key tile together with p v of the present one, and computes the next
// softmax while p v runs.
#include "kernels/cuda/attention/hopper/schedule.h"
#include "kernels/cuda/attention/merge.h"
#include "kernels/cuda/attention/online_softmax.h"
#include "kernels/cuda/attention/operands.h"
#include "kernels/cuda/attention/registers.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/hopper/registers.h"
#include "kernels/cuda/hopper/ring.h"
#include "kernels/cuda/hopper/tensor_map.h"
#include "kernels/cuda/hopper/wgmma.h"
#include "kernels/cuda/tensor_core.h"

namespace ROPEWALK_CUDA {
namespace {

// Tile sizes for head size K.
template <int K_, int kConsumers_, int kKeys_, int kStages_>
struct Cut {
  static constexpr int K = K_;
  static constexpr int kConsumers = kConsumers_;  // warpgroups of 64 rows each
  static constexpr int kRows = 64 * kConsumers;
  static constexpr int kKeys = kKeys_;      // of a tile
  static constexpr int kStages = kStages_;  // key tiles in shared memory, and as many tiles of values
  static constexpr int kPanels = K / kPanel;
  // Tests whether outputs need rescaling, where the test costs less than a needless rescaling.
  static constexpr bool kAsksToShrink = K == 128;
  static constexpr int kThreads = kWarpgroup * (1 + kConsumers);
  // Registers per thread: the loading warpgroup hands those that it does not need to the consumers.
  static constexpr int kLoaderRegisters = kConsumers == 2 ? 24 : 32, kConsumerRegisters = kConsumers == 2 ? 240 : 160;
  static_assert(kLoaderRegisters + kConsumers * kConsumerRegisters <= (1 + kConsumers) * (65536 / kThreads / 8 * 8));
};

// A row block and its key tiles, which are visited from the last to the first.
struct Visit {
  int t0, g, u0;               // first query, KV head, first key of the first key tile
  int whole_begin, whole_end;  // the keys that all rows see
  int tiles;                   // number of key tiles; 0: there is no more work
};

template <typename Cut>
struct Shared {
  alignas(1024) Bf16 q[2][Cut::kPanels][Cut::kRows * kPanel];  // of this visit and the next
  alignas(1024) Bf16 k[Cut::kStages][Cut::kPanels][Cut::kKeys * kPanel];
  alignas(1024) Bf16 v[Cut::kStages][Cut::kPanels][Cut::kKeys * kPanel];
  Barrier q_full[2], q_empty[2];
  Barrier k_full[Cut::kStages], k_empty[Cut::kStages];
  Barrier v_full[Cut::kStages], v_empty[Cut::kStages];
  Visit visit[2];  // written and released with q
};

template <typename Cut>
__device__ __forceinline__ Visit visit_of(const AttentionShape& s, const ScheduledRows& block) {
  const int64_t t0 = int64_t{block.row_block} * (Cut::kRows / (s.H / s.G));
  const Rows<Cut::kRows> rows(s, t0);
  const Range first = keys_of_query(s, t0), last = keys_of_query(s, t0 + rows.queries - 1);
  const int keys = static_cast<int>(last.end - first.begin);
  return {static_cast<int>(t0),          static_cast<int>(block.head),
          static_cast<int>(first.begin), static_cast<int>(last.begin),
          static_cast<int>(first.end),   keys > 0 ? (keys + Cut::kKeys - 1) / Cut::kKeys : 0};
}

// The producer: one thread issues the loads of all tiles.
template <typename Cut>
__device__ __forceinline__ void load(const AttentionShape& s, const RowSchedule& schedule, const TensorMap& q,
                                     const TensorMap& k, const TensorMap& v, Shared<Cut>& shared) {
  const auto ask_for_tile = [&](const TensorMap& map, Bf16(&tile)[Cut::kPanels][Cut::kKeys * kPanel], Barrier* full,
                                const Visit& visit, int i) {
    arrive_expecting(full, sizeof(tile));
    const int u = visit.u0 + (visit.tiles - 1 - i) * Cut::kKeys;
    for (int panel = 0; panel < Cut::kPanels; ++panel)
      copy_tile_async(tile[panel], map, full, {panel * kPanel, visit.g, u});
  };
  RingPlace<Cut::kStages> k_place, v_place;
  const auto ask_for_keys = [&](const Visit& visit, int i) {
    wait(&shared.k_empty[k_place.stage], k_place.parity ^ 1);
    ask_for_tile(k, shared.k[k_place.stage], &shared.k_full[k_place.stage], visit, i);
    k_place.next();
  };
  const auto ask_for_values = [&](const Visit& visit, int i) {
    wait(&shared.v_empty[v_place.stage], v_place.parity ^ 1);
    ask_for_tile(v, shared.v[v_place.stage], &shared.v_full[v_place.stage], visit, i);
    v_place.next();
  };
  const int R = static_cast<int>(s.H / s.G);
  const uint32_t q_bytes = Cut::kRows / R * R * Cut::K * sizeof(Bf16);
  RingPlace<2> q_place;
  for (unsigned number = take_number(schedule);;) {
    const bool done = number >= schedule.count;
    const Visit visit = done ? Visit{} : visit_of<Cut>(s, row_block(schedule, number));
    if (!done) number = take_number(schedule);
    if (!done && visit.tiles == 0) continue;  // these rows see nothing
    if (!done) ask_for_keys(visit, 0);
    wait(&shared.q_empty[q_place.stage], q_place.parity ^ 1);
    shared.visit[q_place.stage] = visit;
    if (done) return arrive(&shared.q_full[q_place.stage]);
    arrive_expecting(&shared.q_full[q_place.stage], q_bytes);
    for (int panel = 0; panel < Cut::kPanels; ++panel)
      copy_tile_async(shared.q[q_place.stage][panel], q, &shared.q_full[q_place.stage],
                      {panel * kPanel, 0, visit.g, visit.t0});
    q_place.next();
    for (int i = 1; i < visit.tiles; ++i) {
      ask_for_keys(visit, i);
      ask_for_values(visit, i - 1);
    }
    ask_for_values(visit, visit.tiles - 1);
  }
}

// Issues score [64, kKeys] = q k^T.
template <typename Cut>
__device__ __forceinline__ void ask_for_scores(float (&score)[Cut::kKeys / 8][4], const Shared<Cut>& shared,
                                               int consumer, int q_stage, int stage) {
  fence_operands();
  ROPEWALK_UNROLL
  for (int i = 0; i < Cut::K / 16; ++i) {
    const int panel = i / 4, bytes = i % 4 * 32;
    multiply_async<Cut::kKeys, false, false>(
        score, advanced(rows_operand(shared.q[q_stage][panel] + consumer * 64 * kPanel), bytes),
        advanced(rows_operand(shared.k[stage][panel]), bytes), i > 0);
  }
  commit_products();
}

// Issues out [64, K] += p v.
template <typename Cut>
__device__ __forceinline__ void ask_for_sums(float (&out)[Cut::K / 8][4], const uint32_t (&p)[Cut::kKeys / 16][4],
                                             const Shared<Cut>& shared, int stage) {
  const Operand values = columns_operand(shared.v[stage][0], sizeof(shared.v[stage][0]));
  fence_operands();
  ROPEWALK_UNROLL
  for (int i = 0; i < Cut::kKeys / 16; ++i)
    multiply_async<Cut::K, true>(out, p[i], advanced(values, i * 16 * kPanel * int{sizeof(Bf16)}), true);
  commit_products();
}

// The consumers: each warpgroup computes 64 rows of every visit.
template <typename Cut>
__device__ __forceinline__ void consume(const AttentionShape& s, Shared<Cut>& shared, float* o, float* lse) {
  const int consumer = static_cast<int>(threadIdx.x) / kWarpgroup - 1;
  const int row0 = consumer * 64 + warp() % 4 * 16 + lane() / 4;  // this thread's rows are row0 and row0 + 8
  const float scale = kLog2e / sqrtf(static_cast<float>(Cut::K));

  RingPlace<Cut::kStages> k_place, v_place;
  for (RingPlace<2> q_place;; q_place.next()) {
    wait(&shared.q_full[q_place.stage], q_place.parity);
    const Visit visit = shared.visit[q_place.stage];
    if (visit.tiles == 0) break;
    const Rows<Cut::kRows> rows(s, visit.t0);
    int seen_begin[2], seen_end[2];  // of this thread's rows
    float lse_before[2];
    const auto at = [&](int i) { return rows.at(s, visit.g, worked_out_here(row0) + 8 * i); };
    ROPEWALK_UNROLL
    for (int i = 0; i < 2; ++i) {
      const Range seen = keys_of_row(s, rows, row0 + 8 * i);
      seen_begin[i] = static_cast<int>(seen.begin);
      seen_end[i] = static_cast<int>(seen.end);
      lse_before[i] = row0 + 8 * i < rows.count() ? lse[at(i)] : -INFINITY;
    }
    OnlineSoftmax softmax;
    float score[Cut::kKeys / 8][4], out[Cut::K / 8][4], shrink[2];
    uint32_t p[Cut::kKeys / 16][4];
    const auto take_scores = [&](int i) {
      const int u = visit.u0 + (visit.tiles - 1 - i) * Cut::kKeys;
      if (u < visit.whole_begin || u + Cut::kKeys > visit.whole_end) {
        const int column0 = u + lane() % 4 * 2;  // this thread's first column
        ROPEWALK_UNROLL
        for (int part = 0; part < Cut::kKeys / 8; ++part)
          for (int j = 0; j < 4; ++j) {
            const int column = part * 8 + j % 2;
            if (column < seen_begin[j / 2] - column0 || column >= seen_end[j / 2] - column0) score[part][j] = -INFINITY;
          }
      }
      softmax.take(score, scale, shrink);
    };

    wait(&shared.k_full[k_place.stage], k_place.parity);
    pin(score);
    ask_for_scores(score, shared, consumer, q_place.stage, k_place.stage);
    // Here, so that the first product and softmax hide the loads of lse and o.
    ROPEWALK_UNROLL
    for (int i = 0; i < 2; ++i) continue_row<Cut::K>(out, softmax, i, at(i), lse_before[i], o);
    wait_products<0>();
    pin(score);
    arrive_as_warp(&shared.k_empty[k_place.stage]);
    k_place.next();
    take_scores(0);
    round_to_left(p, score);
    shrink_rows(out, shrink);
    if (visit.tiles > 1) wait(&shared.k_full[k_place.stage], k_place.parity);
    for (int i = 1; i < visit.tiles; ++i) {
      pin(score);
      pin(out);
      pin(p);
      ask_for_scores(score, shared, consumer, q_place.stage, k_place.stage);
      wait(&shared.v_full[v_place.stage], v_place.parity);
      ask_for_sums(out, p, shared, v_place.stage);
      wait_products<1>();
      pin(score);
      arrive_as_warp(&shared.k_empty[k_place.stage]);
      k_place.next();
      take_scores(i);
      // The wait for keys is here to keep ptxas from moving the softmax after wait_products<0>().
      if (i + 1 < visit.tiles) wait(&shared.k_full[k_place.stage], k_place.parity);
      wait_products<0>();
      pin(out);
      pin(p);
      arrive_as_warp(&shared.v_empty[v_place.stage]);
      v_place.next();
      if (!Cut::kAsksToShrink || __any_sync(~0u, shrink[0] != 1 || shrink[1] != 1)) shrink_rows(out, shrink);
      round_to_left(p, score);
    }
    arrive_as_warp(&shared.q_empty[q_place.stage]);
    wait(&shared.v_full[v_place.stage], v_place.parity);
    pin(out);
    pin(p);
    ask_for_sums(out, p, shared, v_place.stage);
    wait_products<0>();
    pin(out);
    arrive_as_warp(&shared.v_empty[v_place.stage]);
    v_place.next();

    ROPEWALK_UNROLL
    for (int i = 0; i < 2; ++i) write_row<Cut::K>(out, softmax, i, seen_begin[i] < seen_end[i], at(i), o, lse);
  }
}

template <typename Cut>
__global__ void __launch_bounds__(Cut::kThreads, 1)
    hopper_forward_kernel(AttentionShape s, RowSchedule schedule, const __grid_constant__ TensorMap q,
                          const __grid_constant__ TensorMap k, const __grid_constant__ TensorMap v, float* o,
                          float* lse) {
  if constexpr (kHasHopperInstructions) {
    Shared<Cut>& shared = *shared_memory<Shared<Cut>>();
    if (threadIdx.x == 0) {
      constexpr int kConsuming = 4 * Cut::kConsumers * kWarpArrivals;  // by the consumer warps
      for (int place = 0; place < 2; ++place) {
        init(&shared.q_full[place], 1);
        init(&shared.q_empty[place], kConsuming);
      }
      for (int stage = 0; stage < Cut::kStages; ++stage) {
        init(&shared.k_full[stage], 1);
        init(&shared.v_full[stage], 1);
        init(&shared.k_empty[stage], kConsuming);
        init(&shared.v_empty[stage], kConsuming);
      }
      publish_barriers();
    }
    __syncthreads();
    if (threadIdx.x < kWarpgroup) {
      lower_registers<Cut::kLoaderRegisters>();
      if (threadIdx.x == 0) load(s, schedule, q, k, v, shared);
    } else {
      raise_registers<Cut::kConsumerRegisters>();
      consume(s, shared, o, lse);
    }
  } else {
    trap();
  }
}

// The most bytes of keys and values that a section of several heads reads, so that they stay in the L2 cache.
constexpr int64_t kSectionBytes = 32 << 20;

template <typename Cut>
void launch_forward(const Runtime& runtime, const AttentionShape& s, unsigned* taken, const Bf16* q, const Bf16* k,
                    const Bf16* v, float* o, float* lse) {
  const int64_t R = s.H / s.G, K = Cut::K;
  const int queries = static_cast<int>(Cut::kRows / R);
  const int64_t blocks = blocks_for(s.T, queries), count = blocks * s.G;
  if (count == 0 || s.U == 0) return;
  check_counts(s);
  const int64_t met = s.sliding ? std::min<int64_t>(s.window, s.U) : s.U;
  const int64_t section = std::clamp<int64_t>(kSectionBytes / (met * K * 2 * int64_t{sizeof(Bf16)}), 1, s.G);
  const RowSchedule schedule{static_cast<unsigned>(count), static_cast<unsigned>(blocks), static_cast<unsigned>(s.G),
                             static_cast<unsigned>(section), taken};
  const auto of_keys = [&](const Bf16* x) {
    return tensor_map(x, {K, s.G, s.U}, {K, s.G * K}, {kPanel, 1, Cut::kKeys});
  };
  launch(runtime, {std::min<int64_t>(runtime.multiprocessors(), count), Cut::kThreads, 1, sizeof(Shared<Cut>)},
         hopper_forward_kernel<Cut>, s, schedule,
         tensor_map(q, {K, R, s.G, s.T}, {K, R * K, s.H * K}, {kPanel, static_cast<int>(R), 1, queries}), of_keys(k),
         of_keys(v), o, lse);
}

}  // namespace

void CudaBackend::hopper_attention_forward(const AttentionShape& s, const Tensor& q, const Tensor& k, const Tensor& v,
                                           const Tensor& o, const Tensor& lse) {
  with_head_size(s.K, [&](auto K) {
    using Best = std::conditional_t<K == 64, Cut<64, 3, 128, 3>, Cut<128, 2, 128, 2>>;
    launch_forward<Best>(runtime_, s, static_cast<unsigned*>(taken_->data()), at<Bf16>(q), at<Bf16>(k), at<Bf16>(v),
                         at<float>(o), at<float>(lse));
  });
}

}  // namespace ROPEWALK_CUDA

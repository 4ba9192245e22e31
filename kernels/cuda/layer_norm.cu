// Layer norm without bias. Each row is read once and held in the registers of its team.
#include <algorithm>

#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/operand.h"
#include "kernels/operations/layer_norm.h"

namespace ROPEWALK_CUDA {
namespace {

constexpr int kForwardBlock = 128, kBackwardBlock = 512;  // threads that share a long row

// Calls f(round, d) for each of this thread's packs of n elements in a row of D; d is the index of the pack's first.
template <int kSize, int kRounds, int n, typename F>
__device__ __forceinline__ void for_each_of_row(int64_t D, F&& f) {
  ROPEWALK_UNROLL
  for (int round = 0; round < kRounds; ++round) {
    const int64_t d = (int64_t{round} * kSize + Team<kSize>::rank()) * n;
    if (d < D) f(round, d);
  }
}

template <int n, int kRounds>
__device__ __forceinline__ void keep(Held<Bf16, n> (&row)[kRounds]) {
  ROPEWALK_UNROLL
  for (int round = 0; round < kRounds; ++round) row[round].keep();
}

// A 32-bit division, since 64-bit ones are slow: check_sizes() ensures that there are fewer than 2^32 rows.
__device__ __forceinline__ int64_t weight_of(int64_t row, int64_t M) {
  return static_cast<uint32_t>(row) % static_cast<uint32_t>(M);
}

template <int kSize, int kRounds, int n>
__global__ void __launch_bounds__(Team<kSize>::kBlock)
    layer_norm_forward_kernel(int64_t N, int64_t D, int64_t M, const Bf16* x, const Bf16* w, float epsilon, Bf16* y,
                              float* mean, float* rstd) {
  using Row = Team<kSize>;
  if (Row::first() >= N) return;
  const int64_t row = Row::index();
  const int64_t width = row < N ? D : 0;
  const Bf16* weights = w + weight_of(row, M) * D;
  Held<Bf16, n> held[kRounds];
  for_each_of_row<kSize, kRounds, n>(width, [&](int round, int64_t d) { held[round].load_from(x + row * D + d); });
  float sum = 0;
  for_each_of_row<kSize, kRounds, n>(width, [&](int round, int64_t) {
    for (int j = 0; j < n; ++j) sum += held[round][j];
  });
  const float center = Row::over(sum, Plus(), 0) / static_cast<float>(D);
  keep(held);
  float squares = 0;
  for_each_of_row<kSize, kRounds, n>(width, [&](int round, int64_t) {
    for (int j = 0; j < n; ++j) squares += (held[round][j] - center) * (held[round][j] - center);
  });
  const float spread = 1 / sqrtf(Row::over(squares, Plus(), 1) / static_cast<float>(D) + epsilon);
  keep(held);
  for_each_of_row<kSize, kRounds, n>(width, [&](int round, int64_t d) {
    const Pack<Bf16, n> weight = load<n>(weights + d);
    Pack<Bf16, n> out;
    for (int j = 0; j < n; ++j)
      out.values[j] = rounded<Bf16>((held[round][j] - center) * spread * widen(weight.values[j]));
    store(out, y + row * D + d);
  });
  if (width > 0 && Row::rank() == 0) {
    mean[row] = center;
    rstd[row] = spread;
  }
}

// The operands of a row of the backward; they are loaded while the previous row is computed.
template <int kSize, int kRounds, int n>
struct BackwardRow {
  Held<Bf16, n> dys[kRounds], xs[kRounds], residuals[kRounds];
  float center = 0, spread = 0;
  __device__ void fetch(int64_t row, int64_t D, const Bf16* dy, const Bf16* x, const Bf16* through, const float* mean,
                        const float* rstd) {
    for_each_of_row<kSize, kRounds, n>(D, [&](int round, int64_t d) {
      dys[round].load_from(dy + row * D + d);
      xs[round].load_from(x + row * D + d);
      if (through) residuals[round].load_from(through + row * D + d);
    });
    center = mean[row];
    spread = rstd[row];
  }
  __device__ float xhat(int round, int j) const { return (xs[round][j] - center) * spread; }
};

// Team i takes rows i, i + teams, i + 2 teams, ..., which all have weight i mod M, since `teams` is a multiple of M. It
// writes their sum of dy * xhat to row i of dw_parts [teams, D].
template <int kSize, int kRounds, int n>
__global__ void __launch_bounds__(Team<kSize>::kBlock, kRounds* n <= 8 ? 1024 / Team<kSize>::kBlock : 1)
    layer_norm_backward_kernel(int64_t N, int64_t D, int64_t M, const Bf16* dy, const Bf16* x, const Bf16* w,
                               const float* mean, const float* rstd, const Bf16* through, Bf16* dx, float* dw_parts) {
  using Row = Team<kSize>;
  const int64_t team = Row::index(), teams = int64_t{gridDim.x} * Row::kTeams;
  const Bf16* weights = w + weight_of(team, M) * D;  // soon in the L1 cache
  float dw[kRounds][n] = {};
  constexpr bool kAhead = kRounds * n <= 16;  // prefetch, if registers suffice for two rows
  BackwardRow<kSize, kRounds, n> here, next;
  const auto fetch = [&](auto& into, int64_t row) {
    if (row < N) into.fetch(row, D, dy, x, through, mean, rstd);
  };
  if (kAhead) fetch(next, team);
  int turn = 0;
  for (int64_t first = Row::first(), row = team; first < N; first += teams, row += teams, turn ^= 1) {
    const int64_t width = row < N ? D : 0;
    if constexpr (kAhead) {
      here = next;
      fetch(next, row + teams);
    } else {
      fetch(here, row);
    }
    Pair sums{0, 0};  // of g and of g * xhat
    for_each_of_row<kSize, kRounds, n>(width, [&](int round, int64_t d) {
      const Pack<Bf16, n> weight = load<n>(weights + d);
      for (int j = 0; j < n; ++j) {
        const float dy_j = here.dys[round][j], g = dy_j * widen(weight.values[j]);
        dw[round][j] += dy_j * here.xhat(round, j);
        sums = sums + Pair{g, g * here.xhat(round, j)};
      }
    });
    sums = Row::over(sums, Plus(), turn);
    const float mean_g = sums.first / static_cast<float>(D), mean_g_xhat = sums.second / static_cast<float>(D);
    keep(here.dys), keep(here.xs), keep(here.residuals);
    for_each_of_row<kSize, kRounds, n>(width, [&](int round, int64_t d) {
      const Pack<Bf16, n> weight = load<n>(weights + d);
      Pack<Bf16, n> out;
      for (int j = 0; j < n; ++j) {
        const float g = here.dys[round][j] * widen(weight.values[j]);
        out.values[j] =
            rounded<Bf16>(here.residuals[round][j] + here.spread * (g - mean_g - here.xhat(round, j) * mean_g_xhat));
      }
      store(out, dx + row * D + d);
    });
  }
  for_each_of_row<kSize, kRounds, n>(D, [&](int round, int64_t d) {
    Pack<float, n> sums;
    for (int j = 0; j < n; ++j) sums.values[j] = dw[round][j];
    store(sums, dw_parts + team * D + d);
  });
}

// dw [M, D] (+)= the sums of its teams' parts. Each lane of a block has one element of dw. The warps take the parts in
// turn, and the first warp adds the warps' sums in order.
constexpr int kSumWarps = 32;
__global__ void sum_parts_kernel(int64_t teams, int64_t D, int64_t M, const float* dw_parts, float* dw, bool add) {
  const int64_t i = int64_t{blockIdx.x} * kWarp + lane(), weight = static_cast<uint32_t>(i) / static_cast<uint32_t>(D);
  auto* sums = shared_memory<float>();  // [warps, lanes]
  float sum = 0;
  if (i < M * D)
    for (int64_t team = weight + warp() * M; team < teams; team += kSumWarps * M)
      sum += dw_parts[team * D + (i - weight * D)];
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (warp() > 0 || i >= M * D) return;
  for (int other = 1; other < kSumWarps; ++other) sum += sums[other * kWarp + lane()];
  dw[i] = add ? dw[i] + sum : sum;
}

// Calls f(team size, rounds, pack) as suits rows of D elements: for short rows 8 or 16 lanes and one round, then a warp
// with up to 4 rounds, and for long rows a block.
template <int kBlock, int kMostRounds, typename F>
void with_rows(int64_t D, int pack, F&& f) {
  with_pack<8>(pack, [&](auto n) {
    const int64_t packs = blocks_for(D, n());
    const auto with_rounds = [&](auto size, auto most) {
      const int64_t rounds = blocks_for(packs, size());
      if (rounds <= 1) return f(size, std::integral_constant<int, 1>{}, n);
      if (rounds <= 2) return f(size, std::integral_constant<int, 2>{}, n);
      if (rounds <= 4) return f(size, std::integral_constant<int, 4>{}, n);
      if constexpr (most() > 4) {
        if (rounds <= 8) return f(size, std::integral_constant<int, 8>{}, n);
        f(size, std::integral_constant<int, 16>{}, n);
      }
    };
    if (packs <= 8) return f(std::integral_constant<int, 8>{}, std::integral_constant<int, 1>{}, n);
    if (packs <= 16) return f(std::integral_constant<int, 16>{}, std::integral_constant<int, 1>{}, n);
    if (packs <= 4 * kWarp)
      with_rounds(std::integral_constant<int, kWarp>{}, std::integral_constant<int, 4>{});
    else
      with_rounds(std::integral_constant<int, kBlock>{}, std::integral_constant<int, kMostRounds>{});
  });
}

// The number of teams in the backward: a multiple of a block's teams and of M. It does not depend on the device, so
// that sums have the same bits everywhere.
template <typename Row>
int64_t teams_of(int64_t N, int64_t M) {
  constexpr int64_t kMostThreads = 1 << 17;  // about as many as an H100 runs at once
  const int64_t unit = Row::kTeams * M;
  return unit * std::clamp(blocks_for(N, unit), int64_t{1}, std::max(int64_t{1}, kMostThreads / Row::kBlock / M));
}

// The kernels hold rows in registers, which limits their length.
constexpr int kForwardRounds = 16, kBackwardRounds = 4;
void check_sizes(const operations::LayerNormSizes& s, int pack) {
  constexpr int64_t kMostPacks = std::min(kForwardRounds * kForwardBlock, kBackwardRounds * kBackwardBlock);
  CHECK(s.D <= kMostPacks * pack, "a layer norm over {} elements on cuda, which supports {} at most", s.D,
        kMostPacks * pack);
  CHECK(s.N < int64_t{1} << 32, "a layer norm of {} rows on cuda", s.N);
}

}  // namespace

void CudaBackend::layer_norm_forward(const Tensor& x, const Tensor& w, double epsilon, const Tensor& y,
                                     const Tensor& mean, const Tensor& rstd) {
  const auto s = operations::layer_norm_sizes(x, w);
  const int pack = pack_of(s.D, sizeof(Bf16), x.raw(), w.raw(), y.raw());
  check_sizes(s, pack);
  with_rows<kForwardBlock, kForwardRounds>(s.D, pack, [&](auto size, auto rounds, auto n) {
    using Row = Team<size()>;
    launch(runtime_, {blocks_for(s.N, Row::kTeams), Row::kBlock, 1, Row::kScratchBytes},
           layer_norm_forward_kernel<size(), rounds(), n()>, s.N, s.D, s.M, at<Bf16>(x), at<Bf16>(w),
           static_cast<float>(epsilon), at<Bf16>(y), at<float>(mean), at<float>(rstd));
  });
}

void CudaBackend::layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                                      const Tensor& rstd, const Tensor& through, const Tensor& dx, const Tensor& dw,
                                      Write write) {
  const auto s = operations::layer_norm_sizes(x, w);
  const int pack = pack_of(s.D, sizeof(Bf16), dy.raw(), x.raw(), w.raw(), through.raw(), dx.raw());
  check_sizes(s, pack);
  if (s.N == 0) {
    if (write == Write::kSet) fill(dw, 0);
    return;
  }
  with_rows<kBackwardBlock, kBackwardRounds>(s.D, pack, [&](auto size, auto rounds, auto n) {
    using Row = Team<size()>;
    const int64_t teams = teams_of<Row>(s.N, s.M);
    auto* parts = static_cast<float*>(runtime_.workspace(teams * s.D * static_cast<int64_t>(sizeof(float))));
    launch(runtime_, {teams / Row::kTeams, Row::kBlock, 1, Row::kScratchBytes},
           layer_norm_backward_kernel<size(), rounds(), n()>, s.N, s.D, s.M, at<Bf16>(dy), at<Bf16>(x), at<Bf16>(w),
           at<float>(mean), at<float>(rstd), at<Bf16>(through), at<Bf16>(dx), parts);
    constexpr int kSumThreads = kSumWarps * kWarp;
    launch(runtime_, {blocks_for(s.M * s.D, kWarp), kSumThreads, 1, kSumThreads * sizeof(float)}, sum_parts_kernel,
           teams, s.D, s.M, parts, at<float>(dw), write == Write::kAdd);
  });
}

}  // namespace ROPEWALK_CUDA

// RoPE, in place. A thread rotates a few pairs of one position in several heads. Angles are reduced to half a turn in
// fp64: at position 10^6 an fp32 angle would be off by 0.03.
#include <vector>

#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/fast_math.h"
#include "kernels/cuda/operand.h"
#include "kernels/operations/rotate.h"

namespace ROPEWALK_CUDA {
namespace {

constexpr int kHeads = 4;  // per thread

template <int n, typename E>
__global__ void rotate_kernel(int64_t T, int64_t H, int64_t K, E* x, int64_t first_position, const double* frequencies,
                              float sign) {
  const int64_t i = first_of_thread<n>();  // of [T, K]
  if (i >= T * K) return;
  const int64_t t = i / K, k = i % K, first_head = int64_t{blockIdx.y} * kHeads;
  E* at = x + (t * H + first_head) * K + k;
  Held<E, n> heads[kHeads];  // loaded while the angles are computed
  ROPEWALK_UNROLL
  for (int h = 0; h < kHeads; ++h)
    if (first_head + h < H) heads[h].load_from(at + h * K);
  float cosine[n / 2], sine[n / 2];
  for (int pair = 0; pair < n / 2; ++pair) {
    const double turns = static_cast<double>(first_position + t) * frequencies[k / 2 + pair];
    sincos_of_turns(static_cast<float>(turns - rint(turns)), &sine[pair], &cosine[pair]);
    sine[pair] *= sign;
  }
  ROPEWALK_UNROLL
  for (int h = 0; h < kHeads; ++h) {
    if (first_head + h >= H) break;
    Pack<E, n> turned;
    for (int pair = 0; pair < n / 2; ++pair) {
      const float a = heads[h][2 * pair], b = heads[h][2 * pair + 1];
      turned.values[2 * pair] = rounded<E>(a * cosine[pair] - b * sine[pair]);
      turned.values[2 * pair + 1] = rounded<E>(a * sine[pair] + b * cosine[pair]);
    }
    store(turned, at + h * K);
  }
}

template <typename E>
void launch_rotate(const Runtime& runtime, int64_t T, int64_t H, int64_t K, E* x, int64_t first_position,
                   const double* frequencies, float sign) {
  constexpr int kWidest = 16 / sizeof(E);
  const auto with = [&](auto n) {
    launch(runtime, {blocks_for(T * K, kThreads * n()), kThreads, blocks_for(H, kHeads)}, rotate_kernel<n(), E>, T, H,
           K, x, first_position, frequencies, sign);
  };
  if (pack_of(K, sizeof(E), x) == kWidest)
    with(std::integral_constant<int, kWidest>{});
  else
    with(std::integral_constant<int, 2>{});
}

}  // namespace

const double* CudaBackend::frequencies(int64_t K, double theta) {
  std::unique_ptr<Buffer>& buffer = frequencies_[{K, theta}];
  if (!buffer) {
    constexpr double kTurn = 6.283185307179586;
    std::vector<double> host;
    for (int64_t k = 0; k < K / 2; ++k) host.push_back(operations::rotation_angle(1, k, K, theta) / kTurn);
    const auto bytes = static_cast<int64_t>(host.size() * sizeof(double));
    buffer = allocate(bytes);
    runtime_.to_device(host.data(), buffer->data(), bytes);
  }
  return static_cast<const double*>(buffer->data());
}

void CudaBackend::rotate(const Tensor& x, int64_t first_position, double theta, Rotation direction) {
  const auto [T, H, K] = operations::rotate_sizes(x);
  check_aligned(x, 2 * static_cast<uintptr_t>(size_of(x.dtype())));  // pairs
  const float sign = direction == Rotation::kForward ? 1 : -1;
  const double* turns = frequencies(K, theta);
  if (x.dtype() == DType::kBF16)
    launch_rotate(runtime_, T, H, K, at<Bf16>(x), first_position, turns, sign);
  else
    launch_rotate(runtime_, T, H, K, at<float>(x), first_position, turns, sign);
}

}  // namespace ROPEWALK_CUDA

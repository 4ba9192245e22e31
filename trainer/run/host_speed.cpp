#include "trainer/run/host_speed.h"

#include <algorithm>
#include <limits>

#include "kernels/arena.h"
#include "kernels/clock.h"
#include "kernels/flops.h"

namespace ropewalk {
namespace {

constexpr double kSeconds = 0.3;  // for each measurement; the first call may take longer

// Seconds of the fastest call; calls are repeated for kSeconds.
template <typename Operation>
double fastest(const Operation& operation) {
  double best = 1e9;
  for (const double end = steady_seconds() + kSeconds; best == 1e9 || steady_seconds() < end;) {
    const double begin = steady_seconds();
    operation();
    best = std::min(best, steady_seconds() - begin);
  }
  return best;
}

Tensor zeros(Kernels& kernels, Arena& arena, DType type, Shape shape) {
  const Tensor x = arena.allocate(type, shape);
  kernels.fill(x, 0);
  return x;
}

// FLOP/s of causal attention, forward and backward, over kTokens tokens with one head.
double attention_speed(Kernels& kernels) {
  constexpr int64_t kTokens = 1024, K = 128;
  Arena arena(kernels, 1 << 20);
  const DType type = kernels.dtype(), sums = accumulator_of(type);
  const Shape rows{kTokens, 1, K}, statistics{kTokens, 1};
  const auto make = [&](DType of, Shape shape) { return zeros(kernels, arena, of, shape); };
  const Tensor q = make(type, rows), k = make(type, rows), v = make(type, rows), d_o = make(type, rows);
  const Tensor o = make(sums, rows), lse = make(sums, statistics), delta = make(sums, statistics);
  const Tensor dq = make(sums, rows), dk = make(sums, rows), dv = make(sums, rows);
  const AttentionSpan causal{.queries = 0, .keys = 0, .window = std::nullopt, .document_begin = {}};
  const double seconds = fastest([&] {
    kernels.fill(lse, -std::numeric_limits<double>::infinity());
    kernels.attention_forward(q, k, v, causal, o, lse);
    kernels.attention_backward(q, k, v, d_o, lse, delta, causal, dq, dk, dv);
  });
  const FlopCount flops =
      attention_flops(Pass::kForward, q, k, causal) + attention_flops(Pass::kBackward, q, k, causal);
  return static_cast<double>(flops) / seconds;
}

}  // namespace

DeviceModel measure_host(BackendKind backend, double peak_flops) {
  const bool plain = backend == BackendKind::kReferenceF64;
  const int64_t N = plain ? 128 : 512, bytes = plain ? 8 << 20 : 64 << 20;  // a copy that outgrows the caches
  const std::unique_ptr<Kernels> kernels = make_kernels(backend);
  const int64_t values = bytes / size_of(kernels->dtype());
  Arena arena(*kernels);
  arena.reserve(2 * bytes + 3 * N * N * size_of(kernels->dtype()) + (1 << 16));
  const auto make = [&](Shape shape) { return zeros(*kernels, arena, kernels->dtype(), shape); };
  DeviceModel out{.name = "cpu", .link = "shm", .efficiency = cpu_efficiency(), .is_gpu = false};
  const Tensor x = make({N, N}), w = make({N, N}), y = make({N, N}), from = make({values}), to = make({values});
  out.peak_flops = peak_flops;
  if (peak_flops == 0) {
    const double seconds = fastest([&] { kernels->linear_forward(x, w, y, Write::kSet); });
    out.peak_flops = 2.0 * static_cast<double>(N * N * N) / seconds / out.efficiency.products;
    if (kernels->dtype() == DType::kBF16) {
      const double sliding = out.efficiency.sliding_attention / out.efficiency.full_attention;
      out.efficiency.full_attention = attention_speed(*kernels) / out.peak_flops;
      out.efficiency.sliding_attention = sliding * out.efficiency.full_attention;
    }
  }
  out.memory_bytes_per_second = 2.0 * static_cast<double>(from.bytes()) / fastest([&] { kernels->copy(from, to); });
  out.inside = out.memory_bytes_per_second / 2;
  out.between = 0.125e9;  // 1 Gbit/s
  return out;
}

}  // namespace ropewalk

#include "trainer/run/host_speed.h"

#include <algorithm>

#include "kernels/arena.h"
#include "kernels/clock.h"

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

}  // namespace

DeviceModel measure_host(BackendKind backend, double peak_flops) {
  const bool plain = backend == BackendKind::kReferenceF64;
  const int64_t N = plain ? 128 : 512, bytes = plain ? 8 << 20 : 64 << 20;  // a copy that outgrows the caches
  const std::unique_ptr<Kernels> kernels = make_kernels(backend);
  const int64_t values = bytes / size_of(kernels->dtype());
  Arena arena(*kernels);
  arena.reserve(2 * bytes + 3 * N * N * size_of(kernels->dtype()) + (1 << 16));
  const auto zeros = [&](Shape shape) {
    const Tensor x = arena.allocate(kernels->dtype(), shape);
    kernels->fill(x, 0);
    return x;
  };
  DeviceModel out{.name = "cpu", .link = "shm", .efficiency = cpu_efficiency(), .is_gpu = false};
  const Tensor x = zeros({N, N}), w = zeros({N, N}), y = zeros({N, N}), from = zeros({values}), to = zeros({values});
  out.peak_flops = peak_flops;
  if (peak_flops == 0) {
    const double seconds = fastest([&] { kernels->linear_forward(x, w, y, Write::kSet); });
    out.peak_flops = 2.0 * static_cast<double>(N * N * N) / seconds / out.efficiency.products;
  }
  out.memory_bytes_per_second = 2.0 * static_cast<double>(from.bytes()) / fastest([&] { kernels->copy(from, to); });
  out.inside = out.memory_bytes_per_second / 2;
  out.between = 0.125e9;  // 1 Gbit/s
  return out;
}

}  // namespace ropewalk

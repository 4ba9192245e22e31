// The machine's limits.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "kernels/clock.h"
#include "kernels/error.h"
#include "kernels/make_kernels.h"
#include "tests/benchmark/measure.h"
#include "tests/benchmark/tensors.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/benchmark/yardsticks.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ropewalk::benchmark::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Twelve independent chains hide the latency of multiply-add on all processors tested, and with their two operands they
// fit into the sixteen registers of AVX2. Returns the number of FLOPs; `sink` keeps the compiler from removing them.
double multiply_add(long rounds, float* sink) {
  const hn::ScalableTag<float> d;
  const auto x = hn::Set(d, 0.999f), y = hn::Set(d, 1e-3f);
  // Different initial values, or the compiler would merge the chains.
  auto a0 = hn::Set(d, 0.0f), a1 = hn::Set(d, 0.1f), a2 = hn::Set(d, 0.2f), a3 = hn::Set(d, 0.3f),
       a4 = hn::Set(d, 0.4f), a5 = hn::Set(d, 0.5f), a6 = hn::Set(d, 0.6f), a7 = hn::Set(d, 0.7f),
       a8 = hn::Set(d, 0.8f), a9 = hn::Set(d, 0.9f), a10 = hn::Set(d, 1.0f), a11 = hn::Set(d, 1.1f);
  for (long round = 0; round < rounds; ++round) {
    a0 = hn::MulAdd(a0, x, y), a1 = hn::MulAdd(a1, x, y), a2 = hn::MulAdd(a2, x, y), a3 = hn::MulAdd(a3, x, y);
    a4 = hn::MulAdd(a4, x, y), a5 = hn::MulAdd(a5, x, y), a6 = hn::MulAdd(a6, x, y), a7 = hn::MulAdd(a7, x, y);
    a8 = hn::MulAdd(a8, x, y), a9 = hn::MulAdd(a9, x, y), a10 = hn::MulAdd(a10, x, y), a11 = hn::MulAdd(a11, x, y);
  }
  const auto sum = hn::Add(hn::Add(hn::Add(a0, a1), hn::Add(a2, a3)), hn::Add(hn::Add(a4, a5), hn::Add(a6, a7)));
  *sink = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum, hn::Add(hn::Add(a8, a9), hn::Add(a10, a11)))));
  return 2.0 * 12 * static_cast<double>(hn::Lanes(d)) * static_cast<double>(rounds);
}

constexpr int64_t kLine = 16, kAhead = 512;  // floats: 64 bytes; 2 KiB

// to = from, with non-temporal stores. Both begin at a cache line; count is a multiple of a line.
void streaming_copy(int64_t count, const float* from, float* to) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t line = 0; line < count; line += kLine) {
    hwy::Prefetch(from + line + kAhead);
    for (int64_t i = line; i < line + kLine; i += lanes) hn::Stream(hn::Load(d, from + i), d, to + i);
  }
  hwy::FlushStream();
}

// copy_rows with non-temporal stores; prefetches the next row while it copies one. Rows begin at cache lines.
void streaming_gather(int64_t rows, int64_t width, const int32_t* token, const float* from, float* to) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t n = 0; n < rows; ++n) {
    const float *row = from + token[n] * width, *next = from + token[std::min(n + 1, rows - 1)] * width;
    for (int64_t line = 0; line < width; line += kLine) {
      hwy::Prefetch(next + line);
      for (int64_t i = line; i < line + kLine; i += lanes) hn::Stream(hn::Load(d, row + i), d, to + n * width + i);
    }
  }
  hwy::FlushStream();
}

// x = -x in place, in four parts at once, so that four streams are in flight.
void update(int64_t count, float* x) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), part = count / 4;
  for (int64_t line = 0; line < part; line += kLine)
    for (int64_t begin = line; begin < count; begin += part)
      for (int64_t i = begin; i < begin + kLine; i += lanes) hn::Store(hn::Neg(hn::Load(d, x + i)), d, x + i);
}

}  // namespace ropewalk::benchmark::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk::benchmark {

HWY_EXPORT(multiply_add);
HWY_EXPORT(streaming_copy);
HWY_EXPORT(streaming_gather);
HWY_EXPORT(update);

Yardstick fma_peak() {
  constexpr long kRounds = 4'000'000;
  const auto run = [](long rounds) {
    float sink;
    const double operations = HWY_DYNAMIC_DISPATCH(multiply_add)(rounds, &sink);
    CHECK(std::isfinite(sink), "{}", sink);
    return operations;
  };
  return {"fma", "GFLOP/s", run(kRounds), [run] { run(kRounds); }};
}

constexpr int64_t kFloats = 32 << 20;  // 128 MiB, far beyond the caches
constexpr double kTraffic = 2.0 * kFloats * sizeof(float);

Yardstick copy_bandwidth() {
  const auto kernels = make_kernels(BackendKind::kCpu);
  const auto from = std::make_shared<Filled>(*kernels, Shape{kFloats}, 1);
  const auto to = std::make_shared<Filled>(*kernels, Shape{kFloats}, 2);
  float *a = from->tensor.data<float>(), *b = to->tensor.data<float>();
  const std::function<void()> ways[] = {
      [=] { std::memcpy(b, a, kFloats * sizeof(float)); },
      [=] {
        HWY_DYNAMIC_DISPATCH(streaming_copy)
        (kFloats, a, b);
      },
  };
  const auto seconds = [](const std::function<void()>& way) {
    double least = INFINITY;
    for (int i = 0; i < 5; ++i) {
      const double began = thread_cpu_seconds();
      way();
      least = std::min(least, thread_cpu_seconds() - began);
    }
    return least;
  };
  const auto& fastest = seconds(ways[0]) < seconds(ways[1]) ? ways[0] : ways[1];
  return {"copy", "GB/s", kTraffic, [from, to, fastest] { fastest(); }};
}

void copy_rows(const Tensor& tokens, const Tensor& from, const Tensor& to) {
  HWY_DYNAMIC_DISPATCH(streaming_gather)
  (to.extent(0), to.extent(1), tokens.data<int32_t>(), from.data<float>(), to.data<float>());
}

Yardstick update_bandwidth() {
  const auto x = std::make_shared<Filled>(*make_kernels(BackendKind::kCpu), Shape{kFloats}, 1);
  return {"update", "GB/s", kTraffic, [x] { HWY_DYNAMIC_DISPATCH(update)(kFloats, x->tensor.data<float>()); }};
}

}  // namespace ropewalk::benchmark
#endif

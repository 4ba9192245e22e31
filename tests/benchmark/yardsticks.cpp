// The machine's limits.
#include <cmath>
#include <cstring>
#include <memory>

#include "kernels/error.h"
#include "tests/benchmark/measure.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/benchmark/yardsticks.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ropewalk::benchmark::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Twelve chains hide the latency of multiply-add on every machine known here, and with their two operands they fit the
// sixteen registers of AVX2. Returns the operations done; `sink` keeps the compiler from dropping them.
double multiply_add(long rounds, float* sink) {
  const hn::ScalableTag<float> d;
  const auto x = hn::Set(d, 0.999f), y = hn::Set(d, 1e-3f);
  // They begin apart, or the compiler would see that they are the same.
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

}  // namespace ropewalk::benchmark::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk::benchmark {

HWY_EXPORT(multiply_add);

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

Yardstick copy_bandwidth() {
  constexpr size_t kBytes = 128 << 20;
  auto from = std::make_shared<std::vector<char>>(kBytes, 'x'), to = std::make_shared<std::vector<char>>(kBytes, 'y');
  return {"copy", "GB/s", 2.0 * kBytes, [from, to] { std::memcpy(to->data(), from->data(), kBytes); }};
}

}  // namespace ropewalk::benchmark
#endif

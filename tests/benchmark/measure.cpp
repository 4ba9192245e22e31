#include "tests/benchmark/measure.h"

#include <algorithm>

#include "kernels/clock.h"

namespace ropewalk::benchmark {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

Figure measure(const Case& measured, const Yardstick& yardstick, int pairs) {
  // Each measurement repeats the run until it takes long enough for the clock.
  constexpr double kEnough = 0.03;  // seconds
  const auto rate_of = [&](double work, const std::function<void()>& run, const std::function<void()>& before,
                           const std::function<double()>& seconds) {
    double spent = 0, counted = 0, done = 0;
    do {
      if (before) before();
      const double began = thread_cpu_seconds();
      run();
      const double took = thread_cpu_seconds() - began;
      spent += took;
      counted += seconds ? seconds() : took;
      done += work;
    } while (spent < kEnough);
    return done / counted;
  };
  const auto limit_now = [&] { return rate_of(yardstick.work, yardstick.run, nullptr, nullptr); };
  std::vector<double> rates, shares;
  double limit_before = limit_now();
  for (int pair = -1; pair < pairs; ++pair) {
    const double rate = rate_of(measured.work, measured.run, measured.before, measured.seconds);
    const double limit_after = limit_now(), limit = (limit_before + limit_after) / 2;
    limit_before = limit_after;
    if (pair < 0) continue;
    rates.push_back(rate);
    shares.push_back(rate / limit);
  }
  const auto [low, high] = std::minmax_element(shares.begin(), shares.end());
  const double rate = median(rates);
  return {measured.name, yardstick.unit, rate, median(shares), *low, *high, measured.work / rate};
}

}  // namespace ropewalk::benchmark

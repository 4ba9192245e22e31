// Measures the speed of single-threaded code as a fraction of the machine's limit at the same time. On a shared machine
// wall times are useless, and CPU-seconds still vary with the clock frequency and the load of other users. So runs of a
// case and of its yardstick alternate. Each run's rate is divided by the mean rate of the yardstick's runs just before
// and after it; the result is the median of these ratios.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace ropewalk::benchmark {

// What a case is compared with: the same kind of work at the machine's limit.
struct Yardstick {
  std::string name;  // "fma", "bf16 peak", "copy", "update"
  std::string unit;  // of work per second: "GFLOP/s", "GB/s"
  double work;       // FLOPs or bytes of one run
  std::function<void()> run;
};
Yardstick fma_peak();  // multiply-adds in registers with the widest vectors, two FLOPs each
// bf16 products in registers, two FLOPs per multiply-add, on the best matrix unit of this processor; fma_peak's run if
// it has none.
Yardstick bf16_peak();
// Bandwidth of memory far larger than the caches. Bytes read and bytes written both count; write-allocate reads (of a
// cache line that is about to be overwritten) do not. Reads are cheaper than writes, so a case with more reads than the
// yardstick may exceed 1.
Yardstick copy_bandwidth();    // to another buffer: memcpy or non-temporal stores, whichever is faster here
Yardstick update_bandwidth();  // reads and writes one buffer in place, in four parts at once. Faster than a copy: each
                               // cache line is in the cache when it is written

struct Case {
  std::string name;
  double work;  // FLOPs or bytes of one run, as the yardstick counts them
  std::function<void()> run;
  std::function<void()> before = nullptr;     // before each run, not timed
  std::function<double()> seconds = nullptr;  // the part of the latest run's CPU-seconds that counts; null: all
};

struct Figure {
  std::string name, unit;
  double rate;                   // median, per CPU-second
  double share;                  // median of the ratios to the yardstick's rate
  double share_low, share_high;  // their extremes
  double seconds;                // median CPU-seconds of one run
};

// Measures one warm-up run, then `pairs` runs that count.
Figure measure(const Case& measured, const Yardstick& yardstick, int pairs);

double median(std::vector<double> values);

}  // namespace ropewalk::benchmark

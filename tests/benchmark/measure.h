// How fast single-threaded code is, as a share of what the machine could do in the same moments. Wall times of shared
// machines mean nothing; CPU-seconds still move with the clock and the neighbours. So a case and its yardstick run by
// turns, and what counts is the median of the ratios of neighbours.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace ropewalk::benchmark {

// What a case is held against: the same kind of work at the machine's limit.
struct Yardstick {
  std::string name;  // "fma", "copy", "update"
  std::string unit;  // of work per second: "GFLOP/s", "GB/s"
  double work;       // FLOP or bytes of one run
  std::function<void()> run;
};
Yardstick fma_peak();  // multiply-adds in registers at the widest vectors, two operations each
// Memory far larger than the caches. Bytes read and bytes written both count; what a processor reads only because it is
// about to overwrite it does not. Reads are cheaper than writes: a case with more of them may exceed 1.
Yardstick copy_bandwidth();    // to another place: memcpy or a copy past the caches, whichever is faster here
Yardstick update_bandwidth();  // in place, four streams at once: faster, as lines are written that were just read

struct Case {
  std::string name;
  double work;  // in the yardstick's terms
  std::function<void()> run;
  std::function<void()> before = nullptr;     // before each run, not timed
  std::function<double()> seconds = nullptr;  // CPU-seconds that count, of the latest run; absent: all of it
};

struct Figure {
  std::string name, unit;
  double rate;                   // median, per CPU-second
  double share;                  // median of the ratios to the yardstick
  double share_low, share_high;  // their extremes
  double seconds;                // median CPU-seconds of one run
};

// One warm-up, then `pairs` pairs.
Figure measure(const Case& measured, const Yardstick& yardstick, int pairs);

double median(std::vector<double> values);

}  // namespace ropewalk::benchmark

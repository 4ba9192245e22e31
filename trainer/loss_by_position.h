// Losses by where in the sequence they stand: what a longer context is good for shows here first.
#pragma once

#include <cstdint>
#include <vector>

namespace ropewalk {

// Sums over equal ranges of positions.
struct LossByPosition {
  std::vector<double> loss;           // summed, in nats
  std::vector<int64_t> targets;       // counted
  double mean() const;                // over all ranges; 0 where nothing was counted
  std::vector<double> means() const;  // of each
  LossByPosition& operator+=(const LossByPosition& other);
};

}  // namespace ropewalk

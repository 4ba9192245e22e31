// Losses by where in the sequence they stand: what a longer context is good for shows here first.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace ropewalk {

// Sums over equal ranges of positions.
struct LossByPosition {
  std::vector<double> loss;      // summed, in nats
  std::vector<int64_t> targets;  // counted
  // Over all ranges, and of each; absent where nothing was counted.
  std::optional<double> mean() const;
  std::vector<std::optional<double>> means() const;
  LossByPosition& operator+=(const LossByPosition& other);
};

}  // namespace ropewalk

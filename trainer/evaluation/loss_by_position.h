// Loss by position in the sequence. The benefit of a longer context shows up here first.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace ropewalk {

// Sums over each of several equal ranges of positions.
struct LossByPosition {
  std::vector<double> loss;      // sums, in nats
  std::vector<int64_t> targets;  // counts
  // The mean over all ranges, and the means of each; nullopt where there are no targets.
  std::optional<double> mean() const;
  std::vector<std::optional<double>> means() const;
  LossByPosition& operator+=(const LossByPosition& other);
};

}  // namespace ropewalk

#include "trainer/evaluation/loss_by_position.h"

#include <cstddef>
#include <numeric>

namespace ropewalk {
namespace {
std::optional<double> ratio(double sum, int64_t count) {
  if (count == 0) return std::nullopt;
  return sum / static_cast<double>(count);
}
}  // namespace

std::optional<double> LossByPosition::mean() const {
  return ratio(std::accumulate(loss.begin(), loss.end(), 0.0),
               std::accumulate(targets.begin(), targets.end(), int64_t{0}));
}

std::vector<std::optional<double>> LossByPosition::means() const {
  std::vector<std::optional<double>> out;
  for (std::size_t range = 0; range < loss.size(); ++range) out.push_back(ratio(loss[range], targets[range]));
  return out;
}

LossByPosition& LossByPosition::operator+=(const LossByPosition& other) {
  loss.resize(other.loss.size());
  targets.resize(other.targets.size());
  for (std::size_t range = 0; range < other.loss.size(); ++range) {
    loss[range] += other.loss[range];
    targets[range] += other.targets[range];
  }
  return *this;
}

}  // namespace ropewalk

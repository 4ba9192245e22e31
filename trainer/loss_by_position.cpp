#include "trainer/loss_by_position.h"

#include <cstddef>
#include <numeric>

namespace ropewalk {
namespace {
double ratio(double sum, int64_t count) { return count > 0 ? sum / static_cast<double>(count) : 0; }
}  // namespace

double LossByPosition::mean() const {
  return ratio(std::accumulate(loss.begin(), loss.end(), 0.0),
               std::accumulate(targets.begin(), targets.end(), int64_t{0}));
}

std::vector<double> LossByPosition::means() const {
  std::vector<double> out;
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

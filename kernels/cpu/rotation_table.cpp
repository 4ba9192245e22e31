#include "kernels/cpu/rotation_table.h"

#include <cmath>

#include "kernels/operations/angle.h"

namespace ropewalk {

const float* RotationTables::at(int64_t position, int64_t K, double theta) {
  const int64_t block = position / kBlock;
  std::unique_ptr<float[]>& table = blocks_[Key{theta, K, block}];
  if (!table) {
    table = std::make_unique<float[]>(static_cast<size_t>(kBlock * K));
    for (int64_t row = 0; row < kBlock; ++row) {
      for (int64_t k = 0; k < K / 2; ++k) {
        const double angle = operations::rotation_angle(block * kBlock + row, k, K, theta);
        table[static_cast<size_t>(row * K + k)] = static_cast<float>(std::cos(angle));
        table[static_cast<size_t>(row * K + K / 2 + k)] = static_cast<float>(std::sin(angle));
      }
    }
  }
  return table.get() + position % kBlock * K;
}

}  // namespace ropewalk

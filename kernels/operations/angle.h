// The angles of RoPE (Su et al., arXiv 2104.09864), from which every backend takes its cosines and sines.
#pragma once

#include <cmath>
#include <cstdint>

namespace ropewalk::operations {

// The angle of pair k at a position: position * theta^(-2k/K). In fp64 even for fp32 tensors: at position 10^6 an fp32
// angle would be off by 0.03.
inline double rotation_angle(int64_t position, int64_t k, int64_t K, double theta) {
  return static_cast<double>(position) * std::pow(theta, -2.0 * static_cast<double>(k) / static_cast<double>(K));
}

}  // namespace ropewalk::operations

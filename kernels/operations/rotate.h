// RoPE (Su et al., arXiv 2104.09864) on interleaved pairs.
#pragma once

#include "kernels/kernels.h"
#include "kernels/operations/angle.h"
#include "kernels/operations/scalar.h"

namespace ropewalk::operations {

struct RotateSizes {
  int64_t T, H, K;
};

inline RotateSizes rotate_sizes(const Tensor& x) { return {x.extent(0), x.extent(1), x.extent(2)}; }

// (a, b) = (a cos - b sin, a sin + b cos) for each pair (a, b) = (x[2k], x[2k+1])
template <typename S>
void rotate(const RotateSizes& s, S* x, int64_t first_position, double theta, Rotation direction) {
  const double sign = direction == Rotation::kForward ? 1 : -1;
  for (int64_t t = 0; t < s.T; ++t) {
    for (int64_t k = 0; k < s.K / 2; ++k) {
      const double angle = rotation_angle(first_position + t, k, s.K, theta);
      const S cosine(std::cos(angle)), sine(sign * std::sin(angle));
      for (int64_t h = 0; h < s.H; ++h) {
        S* pair = x + (t * s.H + h) * s.K + 2 * k;
        const S a = pair[0], b = pair[1];
        pair[0] = a * cosine - b * sine;
        pair[1] = a * sine + b * cosine;
      }
    }
  }
}

}  // namespace ropewalk::operations

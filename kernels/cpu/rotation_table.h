// Cosines and sines of RoPE, cached in blocks of positions, because every layer and every step uses the same ones. The
// angles are computed in fp64 and the results rounded to fp32. That is closer to the exact rotation than angles in
// fp32, which at position 10^6 are off by up to 0.03.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <tuple>

namespace ropewalk {

class RotationTables {
 public:
  // Returns K/2 cosines, then K/2 sines, of one position. Valid until this object is destroyed.
  const float* at(int64_t position, int64_t K, double theta);

 private:
  static constexpr int64_t kBlock = 256;             // positions
  using Key = std::tuple<double, int64_t, int64_t>;  // theta, K, block

  std::map<Key, std::unique_ptr<float[]>> blocks_;
};

}  // namespace ropewalk

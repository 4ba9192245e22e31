// Numbers for tests, as functions of a name and a seed: the environment variable ROPEWALK_TEST_SEED, or a fixed one.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/random.h"
#include "kernels/tensor.h"

namespace ropewalk {

inline uint64_t test_seed() {
  const char* const given = std::getenv("ROPEWALK_TEST_SEED");
  return given ? std::stoull(given) : 20240607;
}

// Standard normal numbers that are exact in fp32, so that fp64 and fp32 backends get the same numbers. Backends in bf16
// round them.
inline std::vector<double> normal_values(int64_t count, std::string_view name) {
  const RandomStream stream(test_seed(), name);
  std::vector<double> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    values[static_cast<size_t>(i)] = static_cast<float>(stream.normal(static_cast<uint64_t>(i)));
  return values;
}

// Whole numbers in [low, high).
inline std::vector<int32_t> integer_values(int64_t count, int32_t low, int32_t high, std::string_view name) {
  const RandomStream stream(test_seed() + 1, name);
  std::vector<int32_t> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    values[static_cast<size_t>(i)] =
        low + static_cast<int32_t>(stream.uniform(static_cast<uint64_t>(i)) * (high - low));
  return values;
}

// A tensor that views a vector's memory.
template <typename T>
Tensor tensor_of(std::vector<T>& values, Shape shape) {
  CHECK(shape.elements() == static_cast<int64_t>(values.size()), "{} for {} values", shape.text(), values.size());
  return Tensor(values.data(), dtype_of<T>, Device{}, shape);
}

}  // namespace ropewalk

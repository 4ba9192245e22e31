#include "tests/benchmark/tensors.h"

#include <algorithm>
#include <string>
#include <vector>

namespace ropewalk::benchmark {

Filled::Filled(Kernels& kernels, Shape shape, uint64_t seed, double scale)
    : buffer(kernels.allocate(shape.elements() * static_cast<int64_t>(sizeof(float)))),
      tensor(buffer->data(), DType::kF32, kernels.device(), shape) {
  if (seed == 0) {
    kernels.fill(tensor, 0);
    return;
  }
  // Drawing is slow, so the draws repeat, with a period that no power of two divides.
  constexpr size_t kPeriod = 99991;
  const RandomStream stream(seed, "benchmark");
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = i < kPeriod ? static_cast<float>(scale * stream.normal(i)) : values[i - kPeriod];
  kernels.upload(values.data(), tensor);
}

}  // namespace ropewalk::benchmark

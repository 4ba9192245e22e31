#include "tests/benchmark/tensors.h"

#include <algorithm>
#include <string>
#include <vector>

namespace ropewalk::benchmark {

Filled::Filled(Kernels& kernels, Shape shape, uint64_t seed, double scale, DType dtype)
    : buffer(kernels.allocate(shape.elements() * size_of(dtype))),
      tensor(buffer->data(), dtype, kernels.device(), shape) {
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
  if (dtype == DType::kF32) {
    kernels.upload(values.data(), tensor);
    return;
  }
  const Filled wide(kernels, shape, 0);
  kernels.upload(values.data(), wide.tensor);
  kernels.cast(wide.tensor, tensor);
  kernels.synchronize();
}

}  // namespace ropewalk::benchmark

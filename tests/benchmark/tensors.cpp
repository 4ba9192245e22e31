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
  if (dtype != DType::kF32) {
    const Filled wide(kernels, shape, seed, scale);
    kernels.cast(wide.tensor, tensor);
    kernels.synchronize();
    return;
  }
  // Random numbers and uploads are slow, so the values repeat, with an odd period so that rows differ.
  constexpr int64_t kPeriod = 99991;
  const int64_t count = shape.elements();
  const RandomStream stream(seed, "benchmark");
  std::vector<float> values(static_cast<size_t>(std::min(count, kPeriod)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(scale * stream.normal(i));
  const Tensor all = tensor.flat();
  kernels.upload(values.data(), all.slice(0, std::ssize(values)));
  for (int64_t there = kPeriod; there < count; there *= 2) {
    const int64_t more = std::min(there, count - there);
    kernels.copy(all.slice(0, more), all.slice(there, there + more));
  }
  kernels.synchronize();
}

}  // namespace ropewalk::benchmark

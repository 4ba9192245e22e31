#include "trainer/data/batch.h"

#include <algorithm>

#include "kernels/error.h"

namespace ropewalk {

Sample Sample::blank(int64_t length) {
  Sample sample;
  sample.blank_length = length;
  return sample;
}

int64_t Sample::length() const { return blank_length > 0 ? blank_length : std::ssize(tokens); }

int64_t Sample::target_count() const {
  return blank_length + std::count_if(targets.begin(), targets.end(), [](int32_t target) { return target >= 0; });
}

int64_t Batch::target_count() const {
  int64_t count = 0;
  for (const Sample& sample : samples) count += sample.target_count();
  return count;
}

std::vector<MicroBatch> micro_batches(const Batch& batch, int64_t size) {
  CHECK(size > 0, "micro-batches of {} samples", size);
  std::vector<MicroBatch> out;
  std::span<const Sample> rest = batch.samples;
  while (!rest.empty()) {
    const size_t count = std::min(static_cast<size_t>(size), rest.size());
    out.push_back({rest.first(count), count == rest.size()});
    rest = rest.subspan(count);
  }
  return out;
}

}  // namespace ropewalk

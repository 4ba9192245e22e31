#include "trainer/data/batch.h"

#include <algorithm>

namespace ropewalk {

int64_t Sample::target_count() const {
  return std::count_if(targets.begin(), targets.end(), [](int32_t target) { return target >= 0; });
}

int64_t Batch::target_count() const {
  int64_t count = 0;
  for (const Sample& sample : samples) count += sample.target_count();
  return count;
}

}  // namespace ropewalk

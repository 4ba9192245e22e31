#include "trainer/evaluation/evaluate.h"

#include <algorithm>

namespace ropewalk {

LossByPosition evaluate(const Predictor& predictor, const Samples& samples, int64_t count, int64_t micro_batch,
                        int64_t position_ranges, const Mesh& mesh) {
  const int64_t all = std::min(count, static_cast<int64_t>(samples.samples_per_epoch()));
  const int64_t round = micro_batch * mesh.shape().data_parallel;
  LossByPosition total;
  for (int64_t first = 0; first < all; first += round) {
    const int64_t begin = std::min(all, first + micro_batch * mesh.data_rank());  // of the last round, perhaps nothing
    total += predictor.evaluate(batch_between(samples, begin, std::min(all, begin + micro_batch)), micro_batch,
                                position_ranges);
  }
  return total;
}

}  // namespace ropewalk

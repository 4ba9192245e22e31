#include "trainer/evaluation/evaluate.h"

#include <algorithm>

namespace ropewalk {

LossByPosition evaluate(const Predictor& predictor, const Batch& batch, const EvaluationOptions& options,
                        const Mesh& mesh) {
  const auto ranges = static_cast<size_t>(options.position_ranges);
  const int64_t length = batch.samples.empty() ? 0 : batch.samples.front().length();
  const SequenceLayout layout(length, mesh.shape().context_parallel);
  std::vector<double> losses(ranges), counts(ranges);
  for (const MicroBatch& micro : micro_batches(batch, options.micro_batch))
    for (const TokenLoss& token : predictor.losses(micro.samples, layout)) {
      const auto range = static_cast<size_t>(token.position * options.position_ranges / length);
      losses[range] += token.loss;
      counts[range] += 1;
    }
  LossByPosition out;
  for (size_t range = 0; range < ranges; ++range) {
    out.loss.push_back(sum_of(mesh.gradient(), losses[range]));
    out.targets.push_back(static_cast<int64_t>(sum_of(mesh.gradient(), counts[range])));
  }
  return out;
}

LossByPosition evaluate(const Predictor& predictor, const Samples& samples, int64_t count,
                        const EvaluationOptions& options, const Mesh& mesh) {
  const int64_t all = std::min(count, static_cast<int64_t>(samples.samples_per_epoch()));
  const int64_t share = options.micro_batch, round = share * mesh.shape().data_parallel;
  LossByPosition total;
  for (int64_t first = 0; first < all; first += round) {
    const int64_t begin = std::min(all, first + share * mesh.data_rank());  // in the last round perhaps no samples
    total += evaluate(predictor, batch_between(samples, begin, std::min(all, begin + share)), options, mesh);
  }
  return total;
}

}  // namespace ropewalk

// What a model is asked without being trained: losses of sequences, logits of the next token. It needs a replica's
// weights and the arena's working memory, no gradients, optimizer state or kept activations.
#pragma once

#include <cstdint>
#include <vector>

#include "trainer/data/batch.h"
#include "trainer/evaluation/loss_by_position.h"
#include "trainer/model/replica.h"

namespace ropewalk {

class Predictor {
 public:
  // replica and sync must outlive this. sync: of a trainer whose weights may still be on their way; null: they are in
  // place.
  explicit Predictor(ModelReplica& replica, ParameterSync* sync = nullptr) : replica_(replica), sync_(sync) {}

  // Losses of this data rank's batch, summed over all ranks by equal ranges of positions. All samples have one length;
  // `micro_batch` of them go through the model together. A data rank's batch may be empty. Collective over the mesh.
  LossByPosition evaluate(const Batch& batch, int64_t micro_batch, int64_t position_ranges) const;

  // Logits of the token after `tokens` (at least one), logit scale applied, over the whole vocabulary [V]; the same on
  // all ranks. Collective over the mesh.
  std::vector<double> next_token_logits(const std::vector<int32_t>& tokens) const;

 private:
  ModelReplica& replica_;
  ParameterSync* sync_;
};

}  // namespace ropewalk

// What a model is asked without being trained: losses of sequences, logits of the next token. It needs a replica's
// weights and the arena's working memory, no gradients, optimizer state or kept activations.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/data/batch.h"
#include "trainer/model/replica.h"

namespace ropewalk {

struct TokenLoss {
  int64_t position;  // in its sequence, of the token whose target it is
  double loss;       // -log p(target), in nats
};

class Predictor {
 public:
  // A view: replica and sync must outlive this, and answers are those of the weights as they are when asked. sync: of a
  // trainer whose weights may still be on their way; null: they are in place.
  explicit Predictor(const ModelReplica& replica, ParameterSync* sync = nullptr) : replica_(replica), sync_(sync) {}

  // Losses of the samples' targets at the positions that this rank holds, in order of sample and position. The samples
  // go through the model together and have one length, layout.length(). Collective over the tensor and sequence groups.
  std::vector<TokenLoss> losses(std::span<const Sample> samples, const SequenceLayout& layout) const;

  // Logits of the token after `tokens` (at least one), logit scale applied, over the whole vocabulary [V]; the same on
  // all ranks. Collective over the tensor and sequence groups; each data rank computes them.
  std::vector<double> next_token_logits(const std::vector<int32_t>& tokens) const;

 private:
  const ModelReplica& replica_;
  ParameterSync* sync_;
};

}  // namespace ropewalk

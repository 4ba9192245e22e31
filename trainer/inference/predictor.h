// Inference: per-token losses of sequences, and next-token logits. It needs a replica's weights and working memory of
// the arena, but no gradients, optimizer state or saved activations.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/data/batch.h"
#include "trainer/model/replica.h"

namespace ropewalk {

struct TokenLoss {
  int64_t position;  // in the sequence, of the input token that predicts the target
  double loss;       // -log p(target), in nats
  bool is_greedy;    // no token of the vocabulary has a larger logit than the target
};

class Predictor {
 public:
  // A view: replica and sync must outlive this, and each call uses the weights as they are then. sync: the optimizer of
  // a trainer, whose all-gathers of weights may still be in flight; null: the weights are complete.
  explicit Predictor(const ModelReplica& replica, ParameterSync* sync = nullptr) : replica_(replica), sync_(sync) {}

  // Losses of the samples' targets at the positions that this context rank holds, sample by sample in the order of its
  // pieces; the same on all tensor ranks. The samples form one micro-batch, each of length layout.length(), which may
  // be less than the context ranks. Collective over mesh.tensor() and mesh.sequence().
  std::vector<TokenLoss> losses(std::span<const Sample> samples, const SequenceLayout& layout) const;

  // The logits [V] (the whole vocabulary, logit scale applied) for the token that follows `tokens`, which are at least
  // one; the same on all ranks. Collective over mesh.tensor() and mesh.sequence(); each data rank computes them itself.
  // With `cache`, slot `slot` of the cache then has these tokens and no others.
  std::vector<double> next_token_logits(const std::vector<int32_t>& tokens, KeyValueCache* cache = nullptr,
                                        int64_t slot = 0) const;
  // The logits [B, V] for the tokens that follow each of B new tokens, which follow the tokens that the cache has in
  // different slots; the cache then has the new tokens too. The same on all tensor ranks, and on all context ranks,
  // each of which computes them. On host backends a row has the same bits whatever the other rows. Collective over
  // mesh.tensor() and mesh.sequence().
  std::vector<double> next_token_logits(std::span<const NewToken> tokens, KeyValueCache& cache) const;

  const ModelReplica& replica() const { return replica_; }

 private:
  const ModelReplica& replica_;
  ParameterSync* sync_;
};

}  // namespace ropewalk

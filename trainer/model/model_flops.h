// Model FLOPs: the numerator of model FLOPs utilization (MFU).
#pragma once

#include "trainer/config/config.h"
#include "trainer/data/batch.h"

namespace ropewalk {

int64_t parameter_count(const ModelConfig& model);  // elements of all parameters
int64_t matrix_elements(const ModelConfig& model);  // elements of the matrices among them

// Forward and backward: 6 per token and matrix element of a block; 6 per target and element of the embedding, as the
// head; and 12 * query heads * head size per visible (query, key) pair and layer. Masked pairs, logits of tokens
// without a target, and recomputation do not count.
class ModelFlops {
 public:
  explicit ModelFlops(const ModelConfig& model);  // `model` must outlive this

  double of_batch(const Batch& batch) const;
  // A step of the stage, over all ranks, as if every sequence were one document and every token had a target.
  double of_step(const Stage& stage) const;
  // All steps of the run after the first `steps_done`, likewise.
  double left(const TrainingConfig& training, int64_t steps_done) const;

 private:
  // pairs: visible pairs, summed over all layers.
  double of(double tokens, double targets, double pairs) const;

  const ModelConfig& model_;
  double head_elements_, block_elements_;  // of the embedding, and of all other matrices
};

}  // namespace ropewalk

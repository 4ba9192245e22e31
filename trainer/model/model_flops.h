// Model FLOPs: the numerator of model FLOPs utilization (MFU).
#pragma once

#include "trainer/config/config.h"
#include "trainer/data/batch.h"

namespace ropewalk {

int64_t parameter_count(const ModelConfig& model);  // elements of all parameters
int64_t matrix_elements(const ModelConfig& model);  // elements of the matrices among them

// Forward and backward: 6 per token and matrix element (the tied embedding counts once, as the head), and 12 * query
// heads * head size per visible (query, key) pair and layer. Masked pairs and recomputation do not count.
class ModelFlops {
 public:
  explicit ModelFlops(const ModelConfig& model);  // `model` must outlive this

  double of_batch(const Batch& batch) const;
  // A step of the stage, over all ranks, as if every sequence were one document.
  double of_step(const Stage& stage) const;
  // All steps of the run after the first `steps_done`, likewise.
  double left(const TrainingConfig& training, int64_t steps_done) const;

 private:
  double of(double tokens, double pairs) const;  // pairs: visible pairs, summed over all layers

  const ModelConfig& model_;
  double matrix_elements_;
};

}  // namespace ropewalk

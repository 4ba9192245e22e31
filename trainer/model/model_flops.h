// How much arithmetic a batch is: the numerator of model FLOP utilisation (MFU).
#pragma once

#include "trainer/config/config.h"
#include "trainer/data/batch.h"

namespace ropewalk {

// Elements of all parameters; of those, the matrices'.
int64_t parameter_count(const ModelConfig& model);
int64_t matrix_elements(const ModelConfig& model);

// Forward and backward: 6 per token and matrix element (the tied embedding counts once, as the head) and 12 * H * K per
// visible pair of tokens and layer. Masked pairs and recomputation do not count.
class ModelFlops {
 public:
  explicit ModelFlops(const ModelConfig& model);  // which must outlive this

  double of_batch(const Batch& batch) const;
  // Of a step of the stage, over all ranks, if every sequence were one document.
  double of_step(const Stage& stage) const;
  // Of all steps of the run after the first `steps_done`, likewise.
  double left(const TrainingConfig& training, int64_t steps_done) const;

 private:
  double of(double tokens, double pairs) const;  // pairs: visible ones, over all layers

  const ModelConfig& model_;
  double matrix_elements_;
};

}  // namespace ropewalk

// How much arithmetic a batch is: the numerator of model FLOP utilisation.
#pragma once

#include "trainer/config/config.h"
#include "trainer/data/batch.h"

namespace ropewalk {

// Forward and backward: 6 per token and matrix element (the tied embedding counts once, as the head) and 12 * H * K per
// visible pair and layer. Masked pairs and recomputation do not count.
double training_flops(const ModelConfig& model, const Batch& batch);

// The same of a step of the stage, over all ranks, if every sequence were one document; and of all steps of the run
// that follow the first `steps_done`.
double step_flops(const ModelConfig& model, const Stage& stage);
double flops_left(const Config& config, int64_t steps_done);

// Elements of all parameters; of those, the matrices'.
int64_t parameter_count(const ModelConfig& model);
int64_t matrix_elements(const ModelConfig& model);

}  // namespace ropewalk

// The loss of a model on a set of samples. The set does not depend on the mesh or the micro-batch, and neither does the
// loss, up to rounding.
#pragma once

#include <cstdint>

#include "parallel/mesh.h"
#include "trainer/data/batch.h"
#include "trainer/data/samples.h"
#include "trainer/evaluation/loss_by_position.h"
#include "trainer/inference/predictor.h"

namespace ropewalk {

struct EvaluationOptions {
  int64_t micro_batch = 1;      // sequences per forward pass of a data rank
  int64_t position_ranges = 1;  // number of equal ranges of positions; losses are summed for each
};

// Both functions return losses summed over all ranks, and are collective over the mesh.

// Evaluates the batches of all data ranks. batch: this data rank's, perhaps empty; all samples on all ranks have the
// same length.
LossByPosition evaluate(const Predictor& predictor, const Batch& batch, const EvaluationOptions& options,
                        const Mesh& mesh);
// Evaluates the first `count` samples, or one epoch if that has fewer; the data ranks share them.
LossByPosition evaluate(const Predictor& predictor, const Samples& samples, int64_t count,
                        const EvaluationOptions& options, const Mesh& mesh);

}  // namespace ropewalk

// The loss of a model on samples: of the same ones whatever the mesh and the micro-batch, and equal to rounding.
#pragma once

#include <cstdint>

#include "parallel/mesh.h"
#include "trainer/data/batch.h"
#include "trainer/data/samples.h"
#include "trainer/evaluation/loss_by_position.h"
#include "trainer/inference/predictor.h"

namespace ropewalk {

struct EvaluationOptions {
  int64_t micro_batch = 1;      // sequences that go through the model together, on a data rank
  int64_t position_ranges = 1;  // equal ranges of positions by which losses are summed
};

// Losses summed over all ranks; both collective over the mesh.

// Of this data rank's batch, which may be empty; all samples of all ranks have one length.
LossByPosition evaluate(const Predictor& predictor, const Batch& batch, const EvaluationOptions& options,
                        const Mesh& mesh);
// Of the first `count` samples, or of all if there are fewer in an epoch; the data ranks share them.
LossByPosition evaluate(const Predictor& predictor, const Samples& samples, int64_t count,
                        const EvaluationOptions& options, const Mesh& mesh);

}  // namespace ropewalk

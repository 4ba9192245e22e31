// The loss of a model on samples, the same whatever the mesh and the micro-batch.
#pragma once

#include <cstdint>

#include "trainer/data/samples.h"
#include "trainer/evaluation/loss_by_position.h"
#include "trainer/inference/predictor.h"

namespace ropewalk {

// Losses of the first `count` samples, or of all if there are fewer in an epoch, by equal ranges of positions. The data
// ranks share them, `micro_batch` at a time. Collective over the mesh.
LossByPosition evaluate(const Predictor& predictor, const Samples& samples, int64_t count, int64_t micro_batch,
                        int64_t position_ranges, const Mesh& mesh);

}  // namespace ropewalk

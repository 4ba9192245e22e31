// One rank's part of a replica of the model: its weights with their forward and backward, which training and evaluation
// share. A trainer adds gradients and an optimizer; nothing here stores activations.
#pragma once

#include <vector>

#include "parallel/rank.h"
#include "parallel/tensor_parallel.h"
#include "trainer/config/config.h"
#include "trainer/model/model.h"
#include "trainer/model/parameters.h"
#include "trainer/model/state_tensor.h"

namespace ropewalk {

struct ModelReplica {
  // The weights are uninitialized until a checkpoint is loaded into state() or they are drawn
  // (trainer/model/initial_weights.h). config and the objects that `rank` refers to must outlive this.
  ModelReplica(const Config& config, Rank rank);
  ModelReplica(const ModelReplica&) = delete;
  ModelReplica& operator=(const ModelReplica&) = delete;

  // The weights of this tensor rank in the compute type, under the names that a checkpoint uses. Load a checkpoint into
  // them, or pass them to draw_initial_weights(). Every rank of the gradient group holds the same weights. saved_here
  // is true only on its rank 0, and there only for primary replicas (Parameter::is_primary_replica).
  std::vector<StateTensor> state() const;

  const Config& config;
  Rank rank;
  TensorRegion region;
  ParameterTable table;
  ParameterValues weights;
  Model model;
};

}  // namespace ropewalk

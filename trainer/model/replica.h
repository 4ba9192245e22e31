// One rank's part of a replica of the model, its weights with their forward and backward: all that a trainer, an
// evaluator, a server and an exporter have in common. A trainer adds gradients and an optimizer; nothing here keeps
// activations.
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
  // The weights are uninitialised until a checkpoint is loaded into state() or they are drawn
  // (trainer/model/initial_weights.h). config and what rank refers to must outlive this.
  ModelReplica(const Config& config, Rank rank);
  ModelReplica(const ModelReplica&) = delete;
  ModelReplica& operator=(const ModelReplica&) = delete;

  // The weights of this tensor rank, of the compute type, as a checkpoint names them: to be loaded into, or drawn.
  // Every rank of the gradient group holds the same ones; saved_here is true on its first.
  std::vector<StateTensor> state() const;

  const Config& config;
  Rank rank;
  TensorRegion region;
  ParameterTable table;
  ParameterValues weights;
  Model model;
};

}  // namespace ropewalk

// The model and the parameter tables that the tests of this directory share.
#pragma once

#include "tests/support/models.h"
#include "trainer/model/parameters.h"

namespace ropewalk {

inline ModelConfig model_with_qk_norm() {
  ModelConfig model = small_model({sliding_rope(3), with_qk_norm(full_rope())});
  model.vocabulary = 37;  // no multiple of 2, 4 or 8
  return model;
}

inline ParameterTable table_of(const ModelConfig& model, int tensor_parallel, int rank, bool token_split = true) {
  return ParameterTable(model, MeshShape{1, 1, tensor_parallel}, rank, token_split && tensor_parallel > 1, 0);
}

}  // namespace ropewalk

// Hooks that a pass over the model calls for each unit of parameters (ParameterTable): the embedding, each block. They
// let communication overlap with the pass: a forward may begin while weights are still being all-gathered, and
// gradients are reduce-scattered while the backward continues. The sharded optimizer implements them.
#pragma once

#include <cstddef>

namespace ropewalk {

class ParameterSync {
 public:
  virtual ~ParameterSync() = default;
  // Called before a forward reads the unit's weights; returns when they are complete.
  virtual void before_forward(size_t unit) = 0;
  // Called when the backward has completed this rank's gradients of the unit, from the last unit to the first.
  virtual void after_backward(size_t unit) = 0;
};

}  // namespace ropewalk

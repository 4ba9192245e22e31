// How a pass over the model and the ranks that share its parameters meet, unit by unit (ParameterTable): the embedding,
// each block. Communication hides behind the pass this way: weights may still be on their way when a forward begins,
// and a gradient leaves for the other ranks while the backward goes on. The sharded optimizer implements it.
#pragma once

#include <cstddef>

namespace ropewalk {

class ParameterSync {
 public:
  virtual ~ParameterSync() = default;
  // A forward is about to read the unit's weights; returns when they have arrived.
  virtual void before_forward(size_t unit) = 0;
  // The backward has completed this rank's gradients of the unit. Units come from the last to the first.
  virtual void after_backward(size_t unit) = 0;
};

}  // namespace ropewalk

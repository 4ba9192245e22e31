// A named box of a global tensor on one rank: the unit in which checkpoints save and load, on any mesh.
#pragma once

#include <string>

#include "kernels/tensor.h"
#include "parallel/shard_plan.h"

namespace ropewalk {

struct StateTensor {
  std::string name;  // "model.norm.weight" (weights), "optimizer.m.<name>", "optimizer.v.<name>"
  Shape shape;       // of the whole tensor
  Box box;           // the part that this rank holds
  Tensor data;       // its elements, on the device
  bool saved_here;   // false if another rank holds the same box and saves it; loading fills both
};

}  // namespace ropewalk

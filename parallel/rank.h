// A rank: its place in the mesh, its device, its memory. Passed down explicitly; there are no globals, so many ranks
// can run as threads of one process.
#pragma once

#include "kernels/arena.h"
#include "kernels/kernels.h"
#include "kernels/trace.h"
#include "parallel/mesh.h"

namespace ropewalk {

struct Rank {
  Mesh& mesh;
  Kernels& kernels;
  Arena& arena;
  Trace* trace = nullptr;  // records the phases of the step; null: none
};

}  // namespace ropewalk

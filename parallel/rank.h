// What a rank is: its place in the mesh, its device, its memory. Handed down to everything; there are no globals, so
// many ranks can live as threads of one process.
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
  Trace* trace = nullptr;  // where phases of the step are noted; null: nowhere
};

}  // namespace ropewalk

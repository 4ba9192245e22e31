// Prints the result of a search for meshes, as text for people and as JSON for scripts.
#pragma once

#include <string>

#include "launch/plan_options.h"
#include "trainer/run/mesh_search.h"

namespace ropewalk {

struct SearchReport {
  const MeshSearch& search;
  Purpose purpose = Purpose::kTraining;
  int ranks = 1;
  const Machine& machine;
};

// The fastest meshes as a table; if none fits, the mesh that needs least memory.
std::string search_text(const SearchReport& report);
// One JSON object: ranks, work, shapes (number of meshes with that many ranks), allowed (how many of these the rules of
// the configuration allow), too_large (how many of the allowed ones need more memory than a rank has), machine, memory
// (limit, source), best[] (all meshes that fit, the fastest first: mesh, seconds, tokens_per_second, mfu, memory_bytes,
// exposed), smallest (if none fits, the mesh that needs least memory, with the same keys; else null). machine and work
// are those of plan_json().
std::string search_json(const SearchReport& report);

}  // namespace ropewalk

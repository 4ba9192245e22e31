// The meshes of so many ranks, by how fast a step is on them: each is estimated, and its time modelled (step_time.h).
#pragma once

#include <string>
#include <vector>

#include "trainer/run/plan_evaluation.h"

namespace ropewalk {

struct MeshChoice {
  MeshShape mesh;
  int64_t needed = 0;      // bytes of the fullest rank
  double seconds = 0;      // of a step; the mean over the run where it has stages
  double exposed = 0;      // of these, communication that nothing hides
  double utilization = 0;  // MFU, likewise a mean
};

struct MeshSearch {
  int shapes = 0;                    // data x context x tensor = ranks
  int allowed = 0;                   // by model and batch
  int too_large = 0;                 // of those allowed, that a rank has no room for
  std::vector<MeshChoice> choices;   // the others, the fastest first
  std::vector<MeshChoice> smallest;  // where none fits: the one that needs least memory
};

// Settings for each data x context x tensor of so many ranks, whether a model allows it or not.
std::vector<std::vector<std::string>> mesh_shapes(int ranks);

// limit: bytes of memory for a rank; 0: not known, everything fits.
MeshSearch search_meshes(int ranks, const Reconfigure& reconfigure, Purpose purpose, const DeviceModel& device,
                         const LinkRates& links, int64_t limit);

}  // namespace ropewalk

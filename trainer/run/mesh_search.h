// Sorts all meshes of a given number of ranks by modelled step time (step_time.h).
#pragma once

#include <string>
#include <vector>

#include "trainer/run/plan_evaluation.h"

namespace ropewalk {

struct MeshChoice {
  MeshShape mesh;
  int64_t needed = 0;      // bytes of the fullest rank
  double seconds = 0;      // modelled time of a step; with stages, the mean over the steps of the run
  double exposed = 0;      // exposed communication in `seconds`
  double utilization = 0;  // MFU; with stages, the mean over the run's time
};

struct MeshSearch {
  int shapes = 0;                    // with data x context x tensor = ranks
  int allowed = 0;                   // shapes that the configuration allows (model and batch divide)
  int too_large = 0;                 // allowed shapes that need more memory than a rank has
  std::vector<MeshChoice> choices;   // allowed shapes that fit, the fastest first
  std::vector<MeshChoice> smallest;  // if none fits, one entry: the shape that needs least memory
};

// The settings of each shape with data x context x tensor = ranks, whether the configuration allows it or not.
std::vector<std::vector<std::string>> mesh_shapes(int ranks);

// limit: bytes of memory that a rank has; 0: unknown, every shape counts as fitting.
MeshSearch search_meshes(int ranks, const Reconfigure& reconfigure, Purpose purpose, const DeviceModel& device,
                         const LinkRates& links, int64_t limit);

}  // namespace ropewalk

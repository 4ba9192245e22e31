// Sorts all meshes of a given number of ranks by modelled throughput (step_time.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "trainer/run/plan_evaluation.h"

namespace ropewalk {

struct MeshChoice {
  MeshShape mesh;
  int64_t needed = 0;      // bytes of the fullest rank
  double seconds = 0;      // modelled time of a step or forward pass; with stages, the mean over the steps of the run
  double tokens = 0;       // of all ranks in `seconds`; forward passes of different meshes process different numbers
  double exposed = 0;      // exposed communication in `seconds`
  double utilization = 0;  // MFU; with stages, the mean over the run's time
  double tokens_per_second() const { return tokens / seconds; }
};

struct MeshSearch {
  int shapes = 0;                      // with data x context x tensor = ranks
  int allowed = 0;                     // shapes that the configuration's rules allow
  int too_large = 0;                   // allowed shapes that need more memory than a rank has
  std::vector<MeshChoice> choices;     // allowed shapes that fit, the most tokens per second first
  std::optional<MeshChoice> smallest;  // if none fits, the allowed shape that needs least memory
};

// The settings of each shape with data x context x tensor = ranks, whether the configuration allows it or not.
std::vector<std::vector<std::string>> mesh_shapes(int ranks);

// If the limit is unknown, every shape counts as fitting.
MeshSearch search_meshes(int ranks, const Reconfigure& reconfigure, Purpose purpose, const DeviceModel& device,
                         const LinkRates& links, const MemoryLimit& limit);

}  // namespace ropewalk

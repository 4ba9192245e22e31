// A configuration with some settings changed, estimated as a whole: what all its stages need. Many of them at a time,
// for the settings that would make a run fit, and for the meshes of so many ranks.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "trainer/run/mesh_estimate.h"
#include "trainer/run/step_time.h"

namespace ropewalk {

// The configuration with these settings besides ("training.micro_batch=1"); throws ConfigurationError where it cannot
// be.
using Reconfigure = std::function<Config(const std::vector<std::string>& settings)>;

struct Evaluation {
  Config config;
  std::vector<MeshEstimate> stages;
  size_t largest = 0;  // the stage that needs most memory
  int64_t needed = 0;  // bytes of the fullest rank there (needed_bytes)
  const MeshEstimate& largest_stage() const { return stages[largest]; }
};
Evaluation evaluate_plan(Config config, Purpose purpose);

// Evaluates each list of settings, in threads; absent: the configuration's rules refuse it. Those that would begin
// after `seconds` are absent too.
std::vector<std::optional<Evaluation>> evaluate_plans(const Reconfigure& reconfigure,
                                                      const std::vector<std::vector<std::string>>& settings,
                                                      Purpose purpose, double seconds = 1e9);

}  // namespace ropewalk

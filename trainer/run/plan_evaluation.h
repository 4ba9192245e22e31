// Estimates all stages of a configuration. Also estimates many variants of a configuration in parallel, for
// memory_advice.h and mesh_search.h.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "trainer/run/mesh_estimate.h"
#include "trainer/run/step_time.h"

namespace ropewalk {

// Returns the configuration with these settings added ("training.micro_batch=1"); throws ConfigurationError if the
// result is invalid.
using Reconfigure = std::function<Config(const std::vector<std::string>& settings)>;

struct Evaluation {
  Config config;
  std::vector<MeshEstimate> stages;
  size_t largest = 0;  // index of the stage that needs most memory
  int64_t needed = 0;  // bytes of the fullest rank in that stage (needed_bytes())
  const MeshEstimate& largest_stage() const { return stages[largest]; }
};
Evaluation evaluate_plan(Config config, Purpose purpose);

// Evaluates each list of settings, in parallel threads. nullopt: the settings are invalid.
std::vector<std::optional<Evaluation>> evaluate_plans(const Reconfigure& reconfigure,
                                                      const std::vector<std::vector<std::string>>& settings,
                                                      Purpose purpose);

}  // namespace ropewalk

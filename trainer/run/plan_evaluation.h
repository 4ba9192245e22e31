// Estimates all stages of a configuration. Also estimates many variants of a configuration in parallel, for
// memory_advice.h and mesh_search.h.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "trainer/run/mesh_estimate.h"
#include "trainer/run/step_time.h"

namespace ropewalk {

// Returns the configuration with these settings added ("training.micro_batch=1"); throws ConfigurationError if the
// result is invalid.
using Reconfigure = std::function<Config(const std::vector<std::string>& settings)>;

// Returns the bytes of memory that a rank of this mesh has; 0: unknown. On CPUs, ranks share the memory of their host.
using MemoryLimit = std::function<int64_t(const MeshShape& mesh)>;

struct Evaluation {
  Config config;
  std::vector<MeshEstimate> stages;
  size_t largest = 0;  // index of the stage that needs most memory
  int64_t needed = 0;  // bytes of the fullest rank in that stage (needed_bytes())
  const MeshEstimate& largest_stage() const { return stages[largest]; }
};
Evaluation evaluate_plan(Config config, Purpose purpose);

// Evaluates each list of settings, in parallel threads. A thread calls use(i, evaluation) for settings[i]; the calls
// may overlap. Settings that are invalid are left out.
void evaluate_plans(const Reconfigure& reconfigure, const std::vector<std::vector<std::string>>& settings,
                    Purpose purpose, const std::function<void(size_t, const Evaluation&)>& use);

}  // namespace ropewalk

// The models and texts on which meshes are compared. Each is small and each is awkward: no extent divides another.
#pragma once

#include <string>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/data/batch.h"

namespace ropewalk {

struct Case {
  std::string name;
  Config config;                // on `mesh`
  std::vector<Sample> samples;  // of a step, over all data ranks; a function of the case and the data ranks only
};

// The case `name` on a mesh. Heads are chosen to fit tensor_parallel, so that the key heads are fewer than the tensor
// ranks where that is possible. One rank with the same model and samples: on_one_rank().
Case make_case(const std::string& name, const MeshShape& mesh);
std::vector<std::string> case_names();
Config on_one_rank(Config config);

// Samples of another step of the same case.
std::vector<Sample> samples_of_step(const Case& c, int64_t step);

}  // namespace ropewalk

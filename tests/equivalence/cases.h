// The models and texts on which meshes are compared. Each is small and awkward: few of its sequence lengths, windows,
// documents and chunks divide one another.
#pragma once

#include <string>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/data/batch.h"

namespace ropewalk {

struct Case {
  std::string name;
  Config config;                // for the mesh given to make_case()
  std::vector<Sample> samples;  // of one step, of all data ranks; depend only on the case and on data_parallel
};

// The case `name` on a mesh. The numbers of heads depend on tensor_parallel; for 4, 5, 6 and 8 there are fewer KV heads
// than tensor ranks.
Case make_case(const std::string& name, const MeshShape& mesh);
std::vector<std::string> case_names();
Config on_one_rank(Config config);  // the same model and samples

// Samples of another step of the same case.
std::vector<Sample> samples_of_step(const Case& c, int64_t step);

}  // namespace ropewalk

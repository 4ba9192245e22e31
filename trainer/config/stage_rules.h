// The rules of what a stage may change: lengths and batches, of the first stage (data and training) and of those in
// training.stages alike.
#pragma once

#include <cstdint>
#include <string>

#include "trainer/config/problems.h"

namespace ropewalk {

namespace proto {
class Config;
}

// Notes every broken rule between fields; data_parallel is resolved, or 0 where no number of ranks fits. Stages that
// are over after `steps_done` steps need not fit the mesh.
void check_stages(const proto::Config& config, int64_t steps_done, Problems& problems);

// "set training.batch to 6 or 9": the multiples around a value.
std::string set_to_multiple(const std::string& field, int64_t value, int64_t factor);

}  // namespace ropewalk

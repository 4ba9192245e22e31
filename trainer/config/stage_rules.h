// The rules for a stage's first_step, sequence_length, batch, micro_batch and theta. They hold for the first stage,
// given by `data` and `training`, and for the entries of training.stages.
#pragma once

#include <cstdint>
#include <string>

#include "trainer/config/problems.h"

namespace ropewalk {

namespace proto {
class Config;
}

// Records every broken rule between fields. data_parallel must be resolved already; if it is 0, because the number of
// ranks is not a multiple of context_parallel x tensor_parallel, the rules that need it are skipped. Stages that ended
// by step `steps_done` need not fit the mesh.
void check_stages(const proto::Config& config, int64_t steps_done, Problems& problems);

// "set training.batch to 6 or 9": the multiples of `factor` below and above `value`.
std::string set_to_multiple(const std::string& field, int64_t value, int64_t factor);

}  // namespace ropewalk

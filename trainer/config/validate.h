// Checks a configuration: the rules for single fields (field_rules.h) and the rules between fields.
#pragma once

#include <optional>

#include "trainer/config/problems.h"

namespace ropewalk {

namespace proto {
class Config;
}

// Records every broken rule. Rules between fields skip a field that is unreadable, missing or out of range, so that one
// mistake is reported once. world_size, steps_done: as in load_config.h.
void check_config(const proto::Config& config, std::optional<int> world_size, int64_t steps_done, Problems& problems);

}  // namespace ropewalk

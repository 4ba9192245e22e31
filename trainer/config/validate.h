// The rules that a configuration must keep: of single fields (a table) and between fields.
#pragma once

#include <optional>

#include "trainer/config/problems.h"

namespace ropewalk {

namespace proto {
class Config;
}

// Notes every broken rule. A field that is unreadable, missing or out of its own range is left out of the rules between
// fields, so that one mistake is told once. world_size, steps_done: as in load_config.h.
void check_config(const proto::Config& config, std::optional<int> world_size, int64_t steps_done, Problems& problems);

}  // namespace ropewalk

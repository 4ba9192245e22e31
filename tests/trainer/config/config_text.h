// The smallest configuration, and helpers that parse changed versions of it.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "trainer/config/load_config.h"

namespace ropewalk {

inline constexpr char kSmallest[] = R"(
model {
  layers: 8 width: 64 hidden: 96 query_heads: 12 key_heads: 4 head_size: 16 vocabulary: 257
  pattern { mask: SLIDING window: 32 position: ROPE theta: 10000 }
  pattern { mask: FULL }
}
data { prefix: "text" sequence_length: 128 }
training { steps: 100 }
output { directory: "run" }
)";

// The smallest configuration with overrides.
inline Config config_with(std::initializer_list<std::string> overrides, std::optional<int> world_size = std::nullopt) {
  const std::vector<std::string> list(overrides);
  return parse_config(kSmallest, "smallest", list, world_size);
}

// The error message for `text`, or "" if it is accepted.
inline std::string refusal(std::string_view text, const std::vector<std::string>& overrides = {},
                           std::optional<int> world_size = std::nullopt, int64_t steps_done = 0) {
  try {
    parse_config(text, "run.textproto", overrides, world_size, steps_done);
  } catch (const ConfigurationError& error) {
    return error.what();
  }
  return "";
}

}  // namespace ropewalk

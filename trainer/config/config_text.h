// Reads protobuf text into a configuration message. Protobuf's own parser stops at the first unknown name or wrong
// value; this one records every problem with its place and continues. Any bytes are safe: nesting cannot go deeper than
// the schema, unknown values are skipped without recursion, and lists are bounded.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "trainer/config/problems.h"

namespace ropewalk {

namespace proto {
class Config;
}

// Reads `text` into the empty `config`; error messages call the text `name`. Returns false if it stopped before the
// end, at a syntax error or after too many problems.
bool read_config_text(std::string_view text, const std::string& name, proto::Config& config, Problems& problems);

// Sets one field from "training.learning_rate=3e-4". A list entry is addressed by its index,
// "model.pattern.0.window=128"; the index one past the last adds an entry. Values are written as in the file, but a
// string needs no quotes.
void apply_override(std::string_view assignment, proto::Config& config, Problems& problems);

// The text of the group `model` alone, of a configuration that a checkpoint holds; all fields that it has, without
// defaults. steps_done: steps of the run before the checkpoint; if a stage had changed theta by then, the layers with
// RoPE have the stage's. Throws ConfigurationError if the text, which the error calls `name`, cannot be read or has no
// such group.
std::string model_group_of(std::string_view config_text, const std::string& name, int64_t steps_done = 0);

// All fields as text, with defaults written out. Reading the text gives the same values.
std::string write_config_text(const proto::Config& config);

}  // namespace ropewalk

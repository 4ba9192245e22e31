// Protobuf text into a message of the configuration. Unlike protobuf's own parser, which stops at the first unknown
// name or wrong value, this one notes each problem with its place and reads on. Any bytes are safe: nesting cannot go
// deeper than the schema, what is skipped is skipped without recursion, and lists are bounded.
#pragma once

#include <string>
#include <string_view>

#include "trainer/config/problems.h"

namespace ropewalk {

namespace proto {
class Config;
}

// Reads all of `text`, which messages call `name`, into the empty `config`. False after an error of syntax: the rest of
// the text was not read then.
bool read_config_text(std::string_view text, const std::string& name, proto::Config& config, Problems& problems);

// Sets one field from "training.learning_rate=3e-4". Entries of a list are named by index:
// "model.pattern.0.window=128"; the index after the last one adds an entry. Values are written as in the file; a string
// needs no quotes.
void apply_override(std::string_view assignment, proto::Config& config, Problems& problems);

// All fields, those with a default written out. Reads back to the same message.
std::string write_config_text(const proto::Config& config);

}  // namespace ropewalk

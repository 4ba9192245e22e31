// Reads protobuf text into a configuration message. Protobuf's own parser stops at the first unknown name or wrong
// value; this one records every problem with its place and continues. Any bytes are safe: nesting cannot go deeper than
// the schema, unknown values are skipped without recursion, and lists are bounded.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "trainer/config/problems.h"

namespace google::protobuf {
class Descriptor;
class Message;
}  // namespace google::protobuf

namespace ropewalk {

namespace proto {
class Config;
}

// What messages about an unknown field say.
struct TextSchema {
  std::string what;    // "the configuration"
  std::string remedy;  // if `suggest` has no name
  // The name that was probably meant by the unknown `name` in the message at `path`; "": no idea (field_names.h).
  std::function<std::string(const google::protobuf::Descriptor& message, const std::string& path,
                            std::string_view name)>
      suggest;
};

// Reads `text` into the empty `message`; error messages call the text `name`. Returns false if it stopped before the
// end, at a syntax error or after too many problems.
bool read_message_text(std::string_view text, const std::string& name, const TextSchema& schema,
                       google::protobuf::Message& message, Problems& problems);

// The same for a configuration.
bool read_config_text(std::string_view text, const std::string& name, proto::Config& config, Problems& problems);

// Sets one field from "training.learning_rate=3e-4". A list entry is addressed by its index,
// "model.pattern.0.window=128"; the index one past the last adds an entry. Values are written as in the file, but a
// string needs no quotes.
void apply_override(std::string_view assignment, proto::Config& config, Problems& problems);

// All fields as text, with defaults written out. Reading the text gives the same values.
std::string write_config_text(const proto::Config& config);

}  // namespace ropewalk

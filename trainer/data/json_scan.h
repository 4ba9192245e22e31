// Checks whether text is JSON by the grammar alone (RFC 8259). Accepts numbers of any size, nesting of any depth and
// lone surrogates in escapes. simdjson is much faster, but refuses these anywhere in a line.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace ropewalk {

struct JsonProblem {
  size_t position;  // in the text, from 0
  std::string what;
};

// Scans `text`, which must be valid UTF-8. Returns the first error, or null if it is JSON. If the outermost value is an
// object, calls `member` for each of its members with key and value as they are written: the key with its quotes.
std::optional<JsonProblem> scan_json(std::string_view text,
                                     const std::function<void(std::string_view key, std::string_view value)>& member);

}  // namespace ropewalk

// Whether text is JSON, by its grammar alone (RFC 8259): numbers of any size, nesting of any depth, halves of surrogate
// pairs. simdjson is much faster, but refuses these, wherever in a line they stand.
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

// Goes through `text`, valid UTF-8; returns what makes it no JSON, or nothing. `member` gets the members of the
// outermost value, if that is an object, as they are written: the key in its quotes, the value.
std::optional<JsonProblem> scan_json(std::string_view text,
                                     const std::function<void(std::string_view key, std::string_view value)>& member);

}  // namespace ropewalk

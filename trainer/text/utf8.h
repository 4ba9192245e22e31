// UTF-8 (RFC 3629): whether text is valid, where it is invalid, and where it may be cut.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ropewalk {

bool is_utf8(std::string_view text);

// Position of the first invalid or incomplete character; text.size() if all of the text is valid.
size_t first_invalid_utf8(std::string_view text);

// With U+FFFD for each invalid part: the longest beginning of a character that is there, or else a byte (the practice
// that the Unicode standard recommends, section 3.9).
std::string replace_invalid_utf8(std::string_view text);

// Length of `text` without an incomplete character of 1 to 3 bytes at its end. Other invalid bytes are kept.
size_t length_in_whole_characters(std::string_view text);

}  // namespace ropewalk

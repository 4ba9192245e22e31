// UTF-8 (RFC 3629): whether text is valid, where it is not, and where it may be cut.
#pragma once

#include <cstddef>
#include <string_view>

namespace ropewalk {

bool is_utf8(std::string_view text);

// The first byte that does not begin or continue a character; text.size() where all is valid.
size_t first_invalid_utf8(std::string_view text);

// Length of `text` without a character that its end cuts: 0 to 3 bytes less. Bytes that are not UTF-8 stay.
size_t length_in_whole_characters(std::string_view text);

}  // namespace ropewalk

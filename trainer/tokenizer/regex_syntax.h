// Regular expressions of a tokenizer.json are written for Oniguruma (in its own syntax). This translates those whose
// meaning is known to be the same in PCRE2, and refuses the others by name and place.
#pragma once

#include <string>
#include <string_view>

namespace ropewalk {

// The same pattern in PCRE2's syntax, for the options UTF, UCP and MULTILINE.
//
// Supported: literal characters; . and $; \s \S \d \D; \p{X} \P{X} for the general categories of letters, marks,
// numbers, punctuation, symbols and separators, and for some scripts; \t \n \r \f \v; \x{H}, \uHHHH; classes [...]
// without sets inside; (...), (?:...), (?>...), (?=...), (?!...); (?i:...) of ASCII characters and |; alternatives; the
// quantifiers * + ? {n} {n,} {n,m}, also lazy and (the first three) possessive.
// Throws DataError for anything else, such as \b, \w and look-behind, with its position in bytes.
std::string to_pcre2_syntax(std::string_view pattern);

}  // namespace ropewalk

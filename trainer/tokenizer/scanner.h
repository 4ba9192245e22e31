// Splits text as the published regular expressions do, without an engine for them: by character classes, about ten
// times as fast. PCRE2 judges the scanners in the tests.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "trainer/tokenizer/pre_tokenizer.h"

namespace ropewalk {

enum class Scanner {
  kGpt2,      // '(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  kCommandR,  // each number alone; what lies between them as kGpt2
  // (?i:'(?:s|t|re|ve|m|ll|d))|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
  kLlama3,  // also GPT-4's
  kQwen2    // the same with \p{N} instead of \p{N}{1,3}
};

// The scanner whose pieces are the matches of a regular expression; nullopt if there is none.
std::optional<Scanner> scanner_for(std::string_view pattern);
// The scanner that does what these steps do, prefix spaces apart; nullopt if there is none.
std::optional<Scanner> scanner_for(const std::vector<PreTokenizerStep>& steps);

// Of kGpt2, kLlama3 and kQwen2, as in published files.
std::string_view pattern_of(Scanner scanner);

// Appends the pieces of the beginning of `text` that no continuation can change, all pieces if the text `ends` there;
// returns the bytes that they cover.
size_t scan(Scanner scanner, std::string_view text, bool ends, std::vector<std::string_view>& pieces);

}  // namespace ropewalk

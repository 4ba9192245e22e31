// Regular expressions that are not published patterns: PCRE2 with just-in-time compilation.
#pragma once

#include <memory>
#include <string_view>

#include "trainer/tokenizer/split_step.h"

namespace ropewalk {

// Immutable; any number of threads may use it.
class Regex {
 public:
  virtual ~Regex() = default;
  // The finder must not outlive the regular expression. find() throws DataError if a match takes too long.
  virtual std::unique_ptr<Finder> make_finder() const = 0;
};

// Throws DataError, with the place, for what to_pcre2_syntax refuses, for what PCRE2 cannot compile, and for a pattern
// that can match an empty text.
std::unique_ptr<Regex> make_regex(std::string_view pattern);

}  // namespace ropewalk

// One Split of a tokenizer.json: a finder marks matches in a text, and a behavior says how matches and the gaps between
// them become pieces (Hugging Face's SplitDelimiterBehavior). The next splitter splits each piece further.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "trainer/tokenizer/pre_tokenizer.h"

namespace ropewalk {

// Finds matches that do not look at what precedes them, and that are not empty. It keeps no state from call to call.
class Finder {
 public:
  struct Found {
    size_t begin;  // where the first match begins; without a match, where one may begin when more text comes
    size_t end;    // of the match; `begin` without one
  };
  virtual ~Finder() = default;
  // The first match in `text` that begins at `from` or later, if it is certain: if no continuation can change it, or
  // `ends`, when nothing follows the text.
  virtual Found find(std::string_view text, size_t from, bool ends) = 0;
};
std::unique_ptr<Finder> make_literal_finder(std::string literal);
std::unique_ptr<Finder> make_digit_finder();  // single characters of kNumeric

using Behavior = PreTokenizerStep::Behavior;
std::unique_ptr<Splitter> make_split_step(std::unique_ptr<Finder> finder, Behavior behavior, bool invert,
                                          std::unique_ptr<Splitter> next);

}  // namespace ropewalk

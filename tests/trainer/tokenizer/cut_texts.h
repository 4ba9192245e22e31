// For tests of splitting and normalizing: random texts, and the same text given at once and cut everywhere.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernels/random.h"
#include "trainer/tokenizer/pre_tokenizer.h"

namespace ropewalk {

// Characters that the published patterns treat differently, all known to Unicode 14: ASCII; white space of every kind
// (and U+180E and U+200B, which are none); letters of every category; numbers; marks; symbols of two to four bytes.
constexpr std::string_view kTrickyCharacters[] = {
    "a",      "b",      "e",          "s",          "t",          "m",          "d",      "l",         "r",
    "v",      "A",      "S",          "L",          "D",          "0",          "1",      "9",         ".",
    "/",      "-",      "!",          "_",          "'",          "'",          "'",      " ",         " ",
    " ",      "\t",     "\n",         "\r",         "\x0B",       "\x0C",       "\x1C",   "\x01",      "\u0085",
    "\u00A0", "\u1680", "\u2003",     "\u2028",     "\u2029",     "\u202F",     "\u205F", "\u3000",    "\u180E",
    "\u200B", "\u200D", "\uFEFF",     "\u017F",     "\u212A",     "\u00DF",     "\u00E9", "\u00C9",    "\u01C5",
    "\u02B0", "\u6F22", "\u3042",     "\uD55C",     "\u1112",     "\u1161",     "\u00B2", "\u00BD",    "\u2167",
    "\u0661", "\u0300", "\u0301",     "\u0315",     "\u0334",     "\u0344",     "\u09C7", "\u09BE",    "\u0F73",
    "\uFB01", "\u212B", "\U0001D400", "\U0001F642", "\U0001F3FD", "\U0001F1E6", "\uE000", "\U0010FFFF"};

// A text of `length` characters, drawn from a few of the tricky ones, so that runs and pairs occur often.
inline std::string tricky_text(const RandomStream& random, uint64_t first, size_t length) {
  const auto choice = random.bits(first);
  const uint64_t different = 1 + choice[0] % 20;
  std::string text;
  for (size_t i = 1; i <= length; ++i) {
    const uint64_t which = random.bits(first + i)[0] % different;
    text += kTrickyCharacters[(choice[1] + which * choice[2]) % std::size(kTrickyCharacters)];
  }
  return text;
}

// Where the characters of a text end, with 0.
inline std::vector<size_t> character_ends(std::string_view text) {
  std::vector<size_t> ends = {0};
  for (size_t at = 1; at <= text.size(); ++at) {
    if (at == text.size() || (text[at] & 0xC0) != 0x80) ends.push_back(at);
  }
  return ends;
}

using Pieces = std::vector<std::string>;

// The pre-tokens of a text that the splitter sees up to each of `cuts` in turn, and then as a whole.
inline Pieces split_with_cuts(Splitter& splitter, std::string_view text, std::vector<size_t> cuts) {
  Pieces pieces;
  size_t begin = 0;
  cuts.push_back(text.size());
  for (size_t i = 0; i < cuts.size(); ++i) {
    const std::string part(text.substr(begin, cuts[i] - begin));  // its own memory: a read beyond it is an error
    PreTokens out;
    begin += splitter.split(part, {.begins = begin == 0, .ends = i + 1 == cuts.size()}, out);
    pieces.insert(pieces.end(), out.pieces.begin(), out.pieces.end());
  }
  if (begin != text.size()) pieces.push_back("(not all of the text)");
  return pieces;
}

inline Pieces split_whole(const PreTokenizer& pre_tokenizer, std::string_view text) {
  return split_with_cuts(*pre_tokenizer.make_splitter(), text, {});
}

// Whether each single cut, and a cut after each character, give the pre-tokens of the whole.
inline void expect_cuts_to_change_nothing(const PreTokenizer& pre_tokenizer, std::string_view text) {
  const Pieces whole = split_whole(pre_tokenizer, text);
  const auto splitter = pre_tokenizer.make_splitter();
  const std::vector<size_t> ends = character_ends(text);
  for (const size_t cut : ends) ASSERT_EQ(split_with_cuts(*splitter, text, {cut}), whole) << text << " cut at " << cut;
  ASSERT_EQ(split_with_cuts(*splitter, text, ends), whole) << text << " in single characters";
}

}  // namespace ropewalk

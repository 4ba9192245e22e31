#include "trainer/tokenizer/scanner.h"

#include <algorithm>
#include <cstdint>

#include "kernels/error.h"
#include "trainer/tokenizer/unicode_classes.h"

namespace ropewalk {
namespace {

using enum CharacterClass;

struct Character {
  CharacterClass of;
  uint32_t bytes;
};

// Text in valid UTF-8. met_end tells whether anyone asked what follows the last character: what was found then may
// change if the text goes on.
class Text {
 public:
  Text(std::string_view text, const CharacterClasses& classes)
      : end_(text.data() + text.size()), classes_(classes), ascii_(classes.ascii()) {}

  bool at_end(const char* at) {
    if (at < end_) return false;
    met_end = true;
    return true;
  }

  // `at` is before the end.
  Character at(const char* at) const {
    const auto byte = static_cast<uint8_t>(*at);
    return byte < 0x80 ? Character{ascii_[byte], 1} : decode(at, byte);
  }

  // The end of the longest run of characters of a class.
  const char* run(const char* at, CharacterClass of) {
    while (true) {
      while (at < end_ && static_cast<uint8_t>(*at) < 0x80 && ascii_[static_cast<uint8_t>(*at)] == of) ++at;
      if (at_end(at)) return at;
      const Character next = this->at(at);
      if (next.of != of) return at;
      at += next.bytes;
    }
  }

  bool begins(const char* at, std::string_view with) const { return std::string_view(at, end_).starts_with(with); }

  bool met_end = false;

 private:
  Character decode(const char* at, uint8_t first) const {
    const auto bits = [at](int i) { return static_cast<uint32_t>(static_cast<uint8_t>(at[i]) & 0x3f); };
    if (first < 0xe0) return {classes_[(first & 0x1fu) << 6 | bits(1)], 2};
    if (first < 0xf0) return {classes_[(first & 0x0fu) << 12 | bits(1) << 6 | bits(2)], 3};
    return {classes_[(first & 0x07u) << 18 | bits(1) << 12 | bits(2) << 6 | bits(3)], 4};
  }

  const char* end_;
  const CharacterClasses& classes_;
  const CharacterClass* ascii_;
};

// The bytes of s, t, re, ve, m, ll or d at `at`, which follows an apostrophe; 0 if there is none.
size_t contraction(Text& text, const char* at, bool any_case) {
  if (text.at_end(at)) return 0;
  const auto lower = [any_case](char c) { return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  const auto followed_by = [&](char c) -> size_t { return !text.at_end(at + 1) && lower(at[1]) == c ? 2 : 0; };
  switch (lower(*at)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 1;
    case 'r':
    case 'v':
      return followed_by('e');
    case 'l':
      return followed_by('l');
    default:
      return any_case && text.begins(at, "\xC5\xBF") ? 2 : 0;  // U+017F is an s for patterns that ignore case
  }
}

// numbers_alone: a number is a piece of its own, and ends the text for the white space before it.
template <bool numbers_alone>
const char* gpt2_piece(Text& text, const char* at) {
  if (*at == '\'') {
    if (const size_t bytes = contraction(text, at + 1, false)) return at + 1 + bytes;
  }
  const Character first = text.at(at);
  if (numbers_alone && first.of == kNumber) return at + first.bytes;
  if (first.of != kSpace) return text.run(at, first.of);
  if (*at == ' ' && !text.at_end(at + 1)) {
    const CharacterClass second = text.at(at + 1).of;
    if (second != kSpace && !(numbers_alone && second == kNumber)) return text.run(at + 1, second);
  }
  // \s+(?!\S)|\s+: the last character of the run is left to what follows, unless it is the only one.
  const char *last = at, *end = at + first.bytes;
  while (!text.at_end(end)) {
    const Character next = text.at(end);
    if (numbers_alone && next.of == kNumber) return end;
    if (next.of != kSpace) return last > at ? last : end;
    last = end;
    end += next.bytes;
  }
  return end;
}

bool is_line_end(char c) { return c == '\n' || c == '\r'; }

// \p{N}{1,most}
const char* numbers(Text& text, const char* at, int most) {
  for (int count = 0; count < most && !text.at_end(at); ++count) {
    const Character next = text.at(at);
    if (next.of != kNumber) break;
    at += next.bytes;
  }
  return at;
}

// \s*[\r\n]+|\s+(?!\S)|\s+ at white space
const char* llama3_space(Text& text, const char* at) {
  const char *last = at, *end = at, *after_line_end = nullptr;
  while (!text.at_end(end)) {
    const Character next = text.at(end);
    if (next.of != kSpace) break;
    last = end;
    end += next.bytes;
    if (is_line_end(*last)) after_line_end = end;
  }
  if (after_line_end) return after_line_end;
  return text.at_end(end) || last == at ? end : last;
}

template <int most_numbers>
const char* llama3_piece(Text& text, const char* at) {
  if (*at == '\'') {
    if (const size_t bytes = contraction(text, at + 1, true)) return at + 1 + bytes;
  }
  const Character first = text.at(at);
  const char* second = at + first.bytes;
  if (first.of == kLetter) return text.run(at, kLetter);
  if (first.of == kNumber) return numbers(text, at, most_numbers);
  if (!is_line_end(*at) && !text.at_end(second) && text.at(second).of == kLetter) return text.run(second, kLetter);
  const char* others = *at == ' ' ? second : at;
  if (!text.at_end(others) && text.at(others).of == kOther) {
    const char* end = text.run(others, kOther);
    while (!text.at_end(end) && is_line_end(*end)) ++end;
    return end;
  }
  return llama3_space(text, at);
}

template <typename Piece>
size_t scan_by(const Piece& piece_end, const CharacterClasses& classes, std::string_view text, bool ends,
               std::vector<std::string_view>& pieces) {
  Text source(text, classes);
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const char* at = begin;
  while (at < end) {
    const char* next = piece_end(source, at);
    if (source.met_end && !ends) break;
    pieces.emplace_back(at, static_cast<size_t>(next - at));
    at = next;
  }
  return static_cast<size_t>(at - begin);
}

constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::optional<Scanner> scanner_of(const PreTokenizerStep& step) {
  using Step = PreTokenizerStep;
  if (step.kind == Step::Kind::kByteLevel && step.use_regex) return Scanner::kGpt2;
  // Every character belongs to a match, so the behaviors that keep matches apart are the same.
  const bool keeps_matches = !step.invert && step.behavior == Step::Behavior::kIsolated;
  const bool keeps_gaps = step.invert && step.behavior == Step::Behavior::kRemoved;
  if (step.kind != Step::Kind::kRegex || !(keeps_matches || keeps_gaps)) return std::nullopt;
  return scanner_for(std::string_view(step.pattern));
}

}  // namespace

std::optional<Scanner> scanner_for(std::string_view pattern) {
  if (pattern == kLlama3Pattern) return Scanner::kLlama3;
  if (pattern == kQwen2Pattern) return Scanner::kQwen2;
  if (pattern == kGpt2Pattern) return Scanner::kGpt2;
  return std::nullopt;
}

std::string_view pattern_of(Scanner scanner) {
  CHECK(scanner != Scanner::kCommandR, "Command R has no single pattern");
  return scanner == Scanner::kLlama3 ? kLlama3Pattern : scanner == Scanner::kQwen2 ? kQwen2Pattern : kGpt2Pattern;
}

std::optional<Scanner> scanner_for(const std::vector<PreTokenizerStep>& steps) {
  using Kind = PreTokenizerStep::Kind;
  std::vector<PreTokenizerStep> splitting;  // without ByteLevel's mapping of bytes, which splits nothing
  for (const PreTokenizerStep& step : steps)
    if (step.kind != Kind::kByteLevel || step.use_regex) splitting.push_back(step);
  if (splitting.size() == 1) return scanner_of(splitting.front());
  if (splitting.size() == 2 && splitting[0].kind == Kind::kDigits && splitting[0].individual_digits &&
      scanner_of(splitting[1]) == Scanner::kGpt2)
    return Scanner::kCommandR;
  return std::nullopt;
}

size_t scan(Scanner scanner, std::string_view text, bool ends, std::vector<std::string_view>& pieces) {
  const auto by = [&](const auto& piece_end, const CharacterClasses& classes) {
    return scan_by(piece_end, classes, text, ends, pieces);
  };
  switch (scanner) {
    case Scanner::kGpt2:
      return by(gpt2_piece<false>, CharacterClasses::of_regex());
    case Scanner::kCommandR:
      return by(gpt2_piece<true>, CharacterClasses::of_digits());
    case Scanner::kLlama3:
      return by(llama3_piece<3>, CharacterClasses::of_regex());
    default:
      return by(llama3_piece<1>, CharacterClasses::of_regex());
  }
}

}  // namespace ropewalk

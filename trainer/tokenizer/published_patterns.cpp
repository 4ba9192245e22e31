#include "trainer/tokenizer/published_patterns.h"

#include <algorithm>

#include "trainer/tokenizer/character_classes.h"

namespace ropewalk {
namespace {

enum class Contractions { kNone, kExactCase, kAnyCase };

// How the published patterns differ. Each tries, in this order: contractions; words; numbers; other characters; white
// space that ends with line breaks; white space.
struct Rules {
  Contractions contractions = Contractions::kAnyCase;
  bool contraction_ends_word = false;     // (?i:'s|...)? after a word, instead of an alternative of its own
  bool words_by_case = false;             // [upper]*[lower]+ or [upper]+[lower]*, instead of \p{L}+
  bool any_prefix = true;                 // a word may begin with [^\r\n\p{L}\p{N}], instead of a space
  size_t most_digits = 0;                 // \p{N}{1,most_digits}; 0: ` ?\p{N}+`
  std::string_view after_other = "\r\n";  // [...]* after other characters
  bool line_breaks = true;                // \s*[\r\n]+
};
constexpr Rules kGpt2 = {
    .contractions = Contractions::kExactCase, .any_prefix = false, .after_other = "", .line_breaks = false};
constexpr Rules kLlama3 = {.most_digits = 3};
constexpr Rules kQwen2 = {.most_digits = 1};
constexpr Rules kO200k = {
    .contraction_ends_word = true, .words_by_case = true, .most_digits = 3, .after_other = "\r\n/"};
constexpr Rules kTekken = {
    .contractions = Contractions::kNone, .words_by_case = true, .most_digits = 1, .after_other = "\r\n/"};

constexpr bool is_line_break(char byte) { return byte == '\r' || byte == '\n'; }

// Finds the matches of one pattern in a text. A match is certain if finding it did not need the end of the text.
template <const Rules& kRules>
class Scan {
 public:
  explicit Scan(std::string_view text) : end_(text.data() + text.size()), classes_(CharacterClasses::get()) {}

  // The end of the match that begins at `at`, which is before the end of the text.
  const char* match(const char* at) {
    constexpr bool kOwnAlternative = kRules.contractions != Contractions::kNone && !kRules.contraction_ends_word;
    if (kOwnAlternative && *at == '\'') {
      if (const char* end = contraction(at); end != at) return end;
    }
    const Character first = peek(at);
    if (kRules.any_prefix) {
      if (const char* end = prefixed_word(at, first); end != at) return end;
    }
    if (kRules.most_digits > 0 && (first.classes & kNumber)) return digits(at, first);
    const char* body = *at == ' ' ? at + 1 : at;
    const uint8_t next = body == at ? first.classes : peek(body).classes;
    if (!kRules.any_prefix && (next & kLetter)) return run<kLetter>(body);
    if (kRules.most_digits == 0 && (next & kNumber)) return run<kNumber>(body);
    if (next & kOther) return bytes_of(kRules.after_other, run<kOther>(body));
    return white_space(at);
  }
  bool needed_end() const { return needed_end_; }

 private:
  Character peek(const char* at) {
    if (at != end_) return classes_.at(at);
    needed_end_ = true;
    return {};
  }

  // The end of the characters from `at` on with one of the classes `mask`.
  template <uint8_t mask>
  const char* run(const char* at) {
    for (; at != end_;) {
      const auto byte = static_cast<unsigned char>(*at);
      if (classes_.of_ascii(byte) & mask) {
        ++at;
      } else if (byte < 0x80) {
        return at;
      } else {
        const Character next = classes_.at(at);
        if (!(next.classes & mask)) return at;
        at += next.bytes;
      }
    }
    needed_end_ = true;
    return at;
  }

  const char* bytes_of(std::string_view set, const char* at) {
    if (set.empty()) return at;
    for (; at != end_; ++at) {
      if (set.find(*at) == std::string_view::npos) return at;
    }
    needed_end_ = true;
    return at;
  }

  // The byte at `at` as a small letter, if the pattern ignores case; 0 at the end.
  char letter(const char* at) {
    if (at == end_) {
      needed_end_ = true;
      return 0;
    }
    const bool fold = kRules.contractions == Contractions::kAnyCase && *at >= 'A' && *at <= 'Z';
    return fold ? static_cast<char>(*at + ('a' - 'A')) : *at;
  }

  // 's|'t|'re|'ve|'m|'ll|'d, where `at` is the apostrophe; returns `at` if there is none. Without regard to case,
  // U+017F (small letter long s) is an s.
  const char* contraction(const char* at) {
    const char first = letter(at + 1);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
    if (first == 'r' || first == 'v') return letter(at + 2) == 'e' ? at + 3 : at;
    if (first == 'l') return letter(at + 2) == 'l' ? at + 3 : at;
    if (kRules.contractions == Contractions::kAnyCase && first == '\xC5' && at[2] == '\xBF') return at + 3;
    return at;
  }

  // [^\r\n\p{L}\p{N}]? and a word; returns `at` if there is none.
  const char* prefixed_word(const char* at, Character first) {
    const bool prefix = (first.classes & (kSpace | kOther)) && !is_line_break(*at);
    const char* word = prefix ? at + first.bytes : at;
    if (!kRules.words_by_case) return peek(word).classes & kLetter ? run<kLetter>(word) : at;
    const char* end = word_with_lower(word);
    if (!end && prefix) end = word_with_lower(at);  // a mark can be the prefix, or a word itself
    if (!end && (end = run<kUpper>(word)) == word) return at;
    return kRules.contraction_ends_word && letter(end) == '\'' ? contraction(end) : end;
  }

  // [upper]*[lower]+; nullptr if there is none. The first part takes all it can, and gives back what the second needs.
  const char* word_with_lower(const char* at) {
    const char* end_of_both = nullptr;  // the end of the last character of both classes
    for (Character next = peek(at); next.classes & kUpper; next = peek(at)) {
      at += next.bytes;
      if (next.classes & kLower) end_of_both = at;
    }
    const char* end = run<kLower>(at);
    return end != at ? end : end_of_both;
  }

  // \p{N}{1,most_digits}, which begins with `first`.
  const char* digits(const char* at, Character first) {
    at += first.bytes;
    for (size_t i = 1; i < kRules.most_digits; ++i) {
      const Character next = peek(at);
      if (!(next.classes & kNumber)) break;
      at += next.bytes;
    }
    return at;
  }

  // \s*[\r\n]+|\s+(?!\S)|\s+
  const char* white_space(const char* at) {
    const char* last = at;
    const char* end = at;
    const char* after_break = nullptr;
    for (Character next = peek(at); next.classes & kSpace; next = peek(end)) {
      last = end;
      end += next.bytes;
      if (kRules.line_breaks && is_line_break(*last)) after_break = end;
    }
    if (after_break) return after_break;
    return end == end_ || last == at ? end : last;
  }

  const char* end_;
  const CharacterClasses& classes_;
  bool needed_end_ = false;
};

template <const Rules& kRules>
class Scanner : public Splitter {
 public:
  size_t split(std::string_view text, PartOfText part, PreTokens& out) override {
    Scan<kRules> scan(text);
    const char* const begin = text.data();
    const char* const end = begin + text.size();
    const char* at = begin;
    while (at != end) {
      const char* const next = scan.match(at);
      if (scan.needed_end() && !part.ends) break;
      out.pieces.emplace_back(at, static_cast<size_t>(next - at));
      at = next;
    }
    return static_cast<size_t>(at - begin);
  }
};

}  // namespace

std::unique_ptr<Splitter> make_scanner(std::string_view pattern) {
  if (pattern == kGpt2Pattern) return std::make_unique<Scanner<kGpt2>>();
  if (pattern == kLlama3Pattern) return std::make_unique<Scanner<kLlama3>>();
  if (pattern == kQwen2Pattern) return std::make_unique<Scanner<kQwen2>>();
  if (pattern == kO200kPattern) return std::make_unique<Scanner<kO200k>>();
  if (pattern == kTekkenPattern) return std::make_unique<Scanner<kTekken>>();
  return nullptr;
}

bool is_published_pattern(std::string_view pattern) {
  return std::ranges::find(kPublishedPatterns, pattern) != std::end(kPublishedPatterns);
}

}  // namespace ropewalk

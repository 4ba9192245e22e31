#include "trainer/tokenizer/regex_syntax.h"

#include <algorithm>

#include "kernels/error.h"

namespace ropewalk {
namespace {

// Oniguruma's \s. PCRE2's also has U+180E.
constexpr std::string_view kSpaces =
    R"(\t-\r\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr std::string_view kNotSpaces =
    R"(\x{0}-\x{8}\x{E}-\x{1F}\x{21}-\x{84}\x{86}-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF}\x{200B}-\x{2027})"
    R"(\x{202A}-\x{202E}\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{10FFFF})";
constexpr std::string_view kCategories[] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",
                                            "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
                                            "S",  "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp"};
constexpr std::string_view kScripts[] = {"Han",   "Hiragana", "Katakana", "Hangul", "Latin",
                                         "Greek", "Cyrillic", "Arabic",   "Hebrew", "Thai"};
// Two letters that Oniguruma also compares with one character, such as ss with U+00DF.
constexpr std::string_view kFoldedTogether[] = {"ss", "st", "ff", "fi", "fl"};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hexadecimal(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  std::string translate() {
    while (!at_end()) item();
    return std::move(out_);
  }

 private:
  bool at_end() const { return at_ == pattern_.size(); }
  bool next_is(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }

  [[noreturn]] void refuse(size_t length, const std::string& why) const {
    throw DataError(fmt::format("the regular expression '{}' has '{}' at byte {}: {}", pattern_,
                                pattern_.substr(at_, length), at_, why));
  }

  // Copies the next `length` bytes.
  void copy(size_t length) {
    out_ += pattern_.substr(at_, length);
    at_ += length;
  }
  void replace(size_t length, std::string_view text) {
    out_ += text;
    at_ += length;
  }

  void item() {
    const char c = pattern_[at_];
    if (c == '(') return open_group();
    if (c == '[') return character_class();
    if (c == '\\') return escape(/*in_class=*/false);
    if (c == '*' || c == '+' || c == '?') return quantifier(1, /*interval=*/false);
    if (c == '{') return interval();
    if (c == '^') refuse(1, "the beginning of a line is not supported");
    copy(1);  // | ) . $ ] } mean the same in both; so does every other character
  }

  void open_group() {
    if (next_is("(*")) refuse(2, "a verb is not supported");
    if (!next_is("(?")) return copy(1);
    for (const std::string_view kind : {"(?:", "(?>", "(?=", "(?!"}) {
      if (next_is(kind)) return copy(kind.size());
    }
    if (next_is("(?i:")) return case_insensitive_group();
    refuse(4, "only the groups (?:, (?>, (?=, (?! and (?i: are supported");
  }

  void case_insensitive_group() {
    copy(4);
    while (!at_end() && !next_is(")")) {
      const char c = pattern_[at_];
      if (!is_letter(c) && !is_digit(c) && c != '\'' && c != '|' && c != ' ')
        refuse(1, "(?i: may have ASCII letters, digits, spaces, ' and | only");
      std::string pair(pattern_.substr(at_, 2));
      for (char& letter : pair)
        letter = static_cast<char>(letter | ('a' - 'A'));  // keeps what is not a letter distinct
      if (std::ranges::find(kFoldedTogether, pair) != std::end(kFoldedTogether))
        refuse(2, "without regard to case, these letters also match one character; this is not supported");
      copy(1);
    }
    if (!at_end()) copy(1);
  }

  void quantifier(size_t length, bool interval) {
    copy(length);
    if (next_is("+") && interval) refuse(1, "after {...} this repeats the repetition, which is not supported");
    if (next_is("?") || next_is("+")) copy(1);
    if (next_is("*") || next_is("+") || next_is("?") || next_is("{"))
      refuse(1, "a quantifier of a quantifier is not supported; use a group (?:...)");
  }

  void interval() {
    size_t end = at_ + 1;
    const auto skip_digits = [&] {
      const size_t begin = end;
      while (end < pattern_.size() && is_digit(pattern_[end])) ++end;
      return end > begin;
    };
    if (!skip_digits()) refuse(1, "{ must begin {n}, {n,} or {n,m}; as a character, write \\{");
    const bool range = end < pattern_.size() && pattern_[end] == ',';
    if (range) {
      ++end;
      skip_digits();
    }
    if (end == pattern_.size() || pattern_[end] != '}')
      refuse(1, "{ must begin {n}, {n,} or {n,m}; as a character, write \\{");
    const size_t length = end + 1 - at_;
    if (!range && pattern_.substr(end + 1).starts_with('?')) refuse(length + 1, "{n}? is not supported");
    quantifier(length, /*interval=*/true);
  }

  void character_class() {
    copy(1);
    if (next_is("^")) copy(1);
    const size_t first = at_;
    if (next_is("]")) refuse(1, "a class that begins with ] is not supported; write \\]");
    while (!at_end() && !next_is("]")) {
      if (next_is("[")) refuse(1, "a class in a class is not supported; as a character, write \\[");
      if (next_is("&&")) refuse(2, "an intersection of classes is not supported");
      if (next_is("\\")) {
        if (!is_one_character() && in_range(first))
          refuse(2, "this is not a character, so no range may begin or end with it");
        escape(/*in_class=*/true);
      } else {
        copy(1);
      }
    }
    if (at_end()) throw DataError(fmt::format("the regular expression '{}' has a [ without ]", pattern_));
    copy(1);
  }

  // Whether the escape at the current place stands for one character.
  bool is_one_character() const {
    return std::string_view("sSdDpP").find(pattern_.substr(at_ + 1, 1)) == std::string_view::npos;
  }

  // Whether a hyphen precedes or follows the escape at the current place, in a class whose first item is at `first`.
  bool in_range(size_t first) const {
    const bool before = at_ > first + 1 && pattern_[at_ - 1] == '-' && pattern_[at_ - 2] != '\\';
    const size_t end = std::string_view("pP").find(pattern_[at_ + 1]) == std::string_view::npos
                           ? at_ + 2
                           : pattern_.find('}', at_) + 1;
    const std::string_view rest = end == 0 || end > pattern_.size() ? "" : pattern_.substr(end);
    return before || (rest.starts_with('-') && !rest.starts_with("-]"));
  }

  void escape(bool in_class) {
    if (at_ + 1 == pattern_.size()) refuse(1, "nothing follows");
    const char c = pattern_[at_ + 1];
    switch (c) {
      case 's':
        return replace(2, in_class ? std::string(kSpaces) : fmt::format("[{}]", kSpaces));
      case 'S':
        return replace(2, in_class ? std::string(kNotSpaces) : fmt::format("[^{}]", kSpaces));
      case 'v':
        return replace(2, R"(\x{B})");  // PCRE2's \v is every vertical white space
      case 'd':
      case 'D':
      case 't':
      case 'n':
      case 'r':
      case 'f':
        return copy(2);
      case 'p':
      case 'P':
        return property();
      case 'x':
      case 'u':
        return code_point();
      default:
        break;
    }
    if (is_letter(c) || is_digit(c) || (c & 0x80)) refuse(2, "this escape is not supported");
    copy(2);
  }

  void property() {
    const size_t end = pattern_.find('}', at_);
    if (pattern_.substr(at_ + 2, 1) != "{" || end == std::string_view::npos)
      refuse(2, "a property is written \\p{...}");
    const std::string_view name = pattern_.substr(at_ + 3, end - at_ - 3);
    const size_t length = end + 1 - at_;
    if (std::ranges::find(kCategories, name) != std::end(kCategories)) return copy(length);
    if (std::ranges::find(kScripts, name) != std::end(kScripts))  // PCRE2's plain name also has the script's extensions
      return replace(length, fmt::format("\\{}{{sc:{}}}", pattern_[at_ + 1], name));
    refuse(length, "this property is not supported");
  }

  void code_point() {
    const bool braces = next_is("\\x{");
    const size_t begin = at_ + (braces ? 3 : 2);
    size_t end = begin;
    while (end < pattern_.size() && is_hexadecimal(pattern_[end]) && (braces || end < begin + 4)) ++end;
    const bool whole = braces ? end > begin && pattern_.substr(end).starts_with('}') : end == begin + 4;
    if (!whole || (!braces && !next_is("\\u"))) refuse(2, "a character is written \\x{H} or \\uHHHH");
    replace(end + (braces ? 1 : 0) - at_, fmt::format("\\x{{{}}}", pattern_.substr(begin, end - begin)));
  }

  std::string_view pattern_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string to_pcre2_syntax(std::string_view pattern) { return Translator(pattern).translate(); }

}  // namespace ropewalk

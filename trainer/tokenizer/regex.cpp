#include "trainer/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "kernels/error.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr uint32_t kMatchLimit = 100'000'000;
constexpr size_t kStackBytes = size_t{32} << 20;  // of JIT code: for a match over a long text

// \s and \S of Oniguruma, for the inside of a class: in PCRE2, U+180E is white space too.
constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

constexpr std::string_view kNotSpaces =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";

[[noreturn]] void refuse(const std::string& pattern, size_t at, const std::string& why) {
  throw DataError(fmt::format("the regular expression {}: at byte {}: {}", in_quotes(pattern), at + 1, why));
}

// Writes Oniguruma's pattern (Ruby's syntax) as PCRE2 understands it.
class Translator {
 public:
  explicit Translator(const std::string& pattern) : pattern_(pattern) {}

  std::string translate() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        escape();
      } else if (in_class_) {
        class_character(c);
      } else if (c == '[') {
        open_class();
      } else if (c == '(') {
        open_group();
      } else {
        if (c == '^' || c == '$') looks_behind = true;
        // After {n,m}, Oniguruma repeats the repetition; PCRE2 makes it possessive.
        if (c == '}' && at_ + 1 < pattern_.size() && pattern_[at_ + 1] == '+')
          refuse(pattern_, at_, "'}+' is not supported");
        copy(1);
      }
    }
    return std::move(out_);
  }

  bool looks_behind = false;

 private:
  void copy(size_t bytes) {
    out_ += pattern_.substr(at_, bytes);
    at_ += bytes;
  }

  void open_class() {
    in_class_ = true;
    copy(1);
    if (pattern_.compare(at_, 1, "^") == 0) copy(1);
    if (pattern_.compare(at_, 1, "]") == 0) refuse(pattern_, at_, "an empty class is not supported; write '\\]'");
  }

  void class_character(char c) {
    if (c == '[') refuse(pattern_, at_, "a class within a class is not supported; write '\\[' for the character");
    if (pattern_.compare(at_, 2, "&&") == 0) refuse(pattern_, at_, "'&&' within a class is not supported");
    if (c == ']') in_class_ = false;
    copy(1);
  }

  void open_group() {
    const auto begins = [this](std::string_view with) {
      return std::string_view(pattern_).substr(at_).starts_with(with);
    };
    if (begins("(?<=") || begins("(?<!")) looks_behind = true;
    for (const std::string_view known : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"})
      if (begins(known)) return copy(known.size());
    if (begins("(?i)") && at_ == 0) return copy(4);  // elsewhere, its reach differs
    if (begins("(?") || begins("(*")) refuse(pattern_, at_, "this kind of group is not supported");
    copy(1);
  }

  void escape() {
    if (at_ + 1 == pattern_.size()) refuse(pattern_, at_, "a '\\' at the end");
    const char c = pattern_[at_ + 1];
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (c == 's' || c == 'S') {
      out_ += fmt::format(fmt::runtime(in_class_ ? "{}" : "[{}]"), c == 's' ? kSpaces : kNotSpaces);
      at_ += 2;
    } else if (c == 'u') {
      code_point();
    } else if ((c == 'p' || c == 'P' || c == 'x') && pattern_.compare(at_ + 2, 1, "{") == 0) {
      copy(std::min(pattern_.find('}', at_), pattern_.size() - 1) + 1 - at_);
    } else if (!is_letter || std::string_view("nrtfxd").find(c) != std::string_view::npos) {
      copy(2);
    } else if (c == 'A' || c == 'z') {
      looks_behind = true;
      copy(2);
    } else {
      refuse(pattern_, at_, fmt::format("'\\{}' is not supported", c));
    }
  }

  // \uHHHH
  void code_point() {
    const std::string digits = pattern_.substr(at_ + 2, 4);
    const auto is_digit = [](unsigned char c) { return std::isxdigit(c) != 0; };
    if (digits.size() < 4 || !std::ranges::all_of(digits, is_digit))
      refuse(pattern_, at_, "'\\u' needs four hexadecimal digits");
    out_ += fmt::format("\\x{{{}}}", digits);
    at_ += 6;
  }

  const std::string& pattern_;
  std::string out_;
  size_t at_ = 0;
  bool in_class_ = false;
};

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

template <typename T, void (*free)(T*)>
struct Freed {
  void operator()(T* pointer) const { free(pointer); }
};
template <typename T, void (*free)(T*)>
using Owned = std::unique_ptr<T, Freed<T, free>>;

}  // namespace

struct Regex::Code {
  std::string pattern;
  Owned<pcre2_code, pcre2_code_free> compiled;
};

Regex::Regex(const std::string& pattern) : code_(std::make_unique<Code>()) {
  code_->pattern = pattern;
  Translator translator(pattern);
  const std::string translated = translator.translate();
  looks_behind_ = translator.looks_behind;
  int error = 0;
  size_t at = 0;
  code_->compiled.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &at,
                                      nullptr));
  if (!code_->compiled) refuse(pattern, std::min(at, pattern.size()), message_of(error));
  uint32_t may_be_empty = 0;
  pcre2_pattern_info(code_->compiled.get(), PCRE2_INFO_MATCHEMPTY, &may_be_empty);
  if (may_be_empty) refuse(pattern, 0, "it can match without any character, which is not supported");
  // Without JIT code, matches take longer, and are the same.
  pcre2_jit_compile(code_->compiled.get(), PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;

std::vector<Regex::Match> Regex::matches(std::string_view text, bool ends) const {
  const Owned<pcre2_match_data, pcre2_match_data_free> data(
      pcre2_match_data_create_from_pattern(code_->compiled.get(), nullptr));
  const Owned<pcre2_match_context, pcre2_match_context_free> context(pcre2_match_context_create(nullptr));
  const Owned<pcre2_jit_stack, pcre2_jit_stack_free> stack(pcre2_jit_stack_create(32 << 10, kStackBytes, nullptr));
  if (!data || !context || !stack) throw std::bad_alloc();
  pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  pcre2_set_match_limit(context.get(), kMatchLimit);

  std::vector<Match> found;
  const uint32_t options = PCRE2_NO_UTF_CHECK | (ends ? 0u : PCRE2_PARTIAL_HARD);
  for (size_t at = 0; at < text.size();) {
    const int result = pcre2_match(code_->compiled.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                   options, data.get(), context.get());
    if (result == PCRE2_ERROR_NOMATCH || result == PCRE2_ERROR_PARTIAL) break;
    if (result < 0)
      throw DataError(fmt::format("the regular expression {} fails on this text: {}", in_quotes(code_->pattern),
                                  message_of(result)));
    const size_t* bounds = pcre2_get_ovector_pointer(data.get());
    const Match match{bounds[0], bounds[1]};
    found.push_back(match);
    at = match.end;
  }
  return found;
}

std::string Regex::unicode_version() {
  std::array<char, 32> version{};
  pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, version.data());
  return version.data();
}

}  // namespace ropewalk

#include "trainer/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "kernels/error.h"
#include "trainer/tokenizer/regex_syntax.h"

namespace ropewalk {
namespace {

// Steps of one match before it is given up. Matches of real patterns take some steps for each character.
constexpr uint32_t kMostSteps = 20'000'000;
constexpr size_t kSmallestStack = 64 << 10, kLargestStack = 16 << 20;  // bytes, of the compiled code

template <auto destroy>
struct Destroy {
  void operator()(auto* object) const { destroy(object); }
};
using Code = std::unique_ptr<pcre2_code, Destroy<pcre2_code_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Destroy<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Destroy<pcre2_match_context_free>>;
using Stack = std::unique_ptr<pcre2_jit_stack, Destroy<pcre2_jit_stack_free>>;

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text;
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

class Pcre2Finder : public Finder {
 public:
  Pcre2Finder(const pcre2_code* code, std::string_view pattern)
      : code_(code),
        pattern_(pattern),
        data_(pcre2_match_data_create(1, nullptr)),
        context_(pcre2_match_context_create(nullptr)),
        stack_(pcre2_jit_stack_create(kSmallestStack, kLargestStack, nullptr)) {
    if (!data_ || !context_ || !stack_) throw std::bad_alloc();
    pcre2_set_match_limit(context_.get(), kMostSteps);
    pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
  }

  Found find(std::string_view text, size_t from, bool ends) override {
    const uint32_t options = PCRE2_NO_UTF_CHECK | (ends ? 0 : PCRE2_PARTIAL_HARD);
    const int result = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, options,
                                   data_.get(), context_.get());
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data_.get());
    if (result == PCRE2_ERROR_NOMATCH) return {text.size(), text.size()};
    if (result == PCRE2_ERROR_PARTIAL) return {range[0], range[0]};
    if (result < 0)
      throw DataError(fmt::format("the regular expression '{}' cannot split a text: {}; simplify it", pattern_,
                                  message_of(result)));
    return {range[0], range[1]};
  }

 private:
  const pcre2_code* code_;
  std::string_view pattern_;
  MatchData data_;
  MatchContext context_;
  Stack stack_;
};

class Pcre2Regex : public Regex {
 public:
  explicit Pcre2Regex(std::string_view pattern) : pattern_(pattern) {
    const std::string translated = to_pcre2_syntax(pattern);
    int error = 0;
    PCRE2_SIZE position = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &position, newlines().get()));
    if (!code_)
      throw DataError(fmt::format("the regular expression '{}' is not valid: {}, after '{}'", pattern,
                                  message_of(error), translated.substr(0, position)));
    uint32_t matches_empty = 0;
    pcre2_pattern_info(code_.get(), PCRE2_INFO_MATCHEMPTY, &matches_empty);
    if (matches_empty)
      throw DataError(
          fmt::format("the regular expression '{}' can match an empty text, which is not supported", pattern));
    const int compiled = pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
    if (compiled != 0 && compiled != PCRE2_ERROR_JIT_BADOPTION)  // a PCRE2 without just-in-time compilation is slower
      throw DataError(fmt::format("the regular expression '{}' cannot be compiled: {}", pattern, message_of(compiled)));
  }

  std::unique_ptr<Finder> make_finder() const override { return std::make_unique<Pcre2Finder>(code_.get(), pattern_); }

 private:
  using CompileContext = std::unique_ptr<pcre2_compile_context, Destroy<pcre2_compile_context_free>>;
  // Oniguruma's lines end with a line feed.
  static CompileContext newlines() {
    CompileContext context(pcre2_compile_context_create(nullptr));
    if (!context) throw std::bad_alloc();
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    return context;
  }

  std::string pattern_;
  Code code_;
};

}  // namespace

std::unique_ptr<Regex> make_regex(std::string_view pattern) { return std::make_unique<Pcre2Regex>(pattern); }

std::string other_patterns_unicode_version() {
  std::array<char, 32> version{};
  pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, version.data());
  return version.data();
}

}  // namespace ropewalk

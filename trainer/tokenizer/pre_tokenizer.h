// The two stages of a tokenizer.json that come before the byte-pair merges: normalizers change text, pre-tokenizers cut
// it into pre-tokens, which merges never cross. Both work on valid UTF-8, of which each part ends between characters,
// and take a text in parts: what they return for the parts together is what they return for the whole. Both are
// immutable, and any number of threads may use them; a NormalizerStream or a Splitter has the state of one text.
//
// Characters have the properties that Hugging Face's tokenizers 0.23.3 gives them: character_classes.h has the classes
// of the published patterns, normalizer.cpp the Unicode version of normal forms. Regular expressions that are not
// published patterns use PCRE2's tables (other_patterns_unicode_version()).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

// Where a part lies in its text. A text is what lies between two added tokens, or an end of the document.
struct PartOfText {
  bool begins = true, ends = true;  // the part contains the beginning, the end
};

struct NormalizerStep {
  enum class Kind { kNfc, kNfd, kNfkc, kNfkd, kPrepend, kReplace };
  Kind kind;
  std::string text;         // kPrepend: what is put before each text; kReplace: what is replaced, literally
  std::string replacement;  // kReplace
};

class NormalizerStream {
 public:
  virtual ~NormalizerStream() = default;
  // Takes the next part of the text, and appends to `out` the normalized form that no continuation can change; all of
  // it if the part ends the text. Keeps the rest. A part with `begins` begins a new text; its state is forgotten.
  virtual void append(std::string_view text, PartOfText part, std::string& out) = 0;
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual std::unique_ptr<NormalizerStream> make_stream() const = 0;
};
// Throws DataError for a step without a text to replace.
std::unique_ptr<Normalizer> make_normalizer(std::vector<NormalizerStep> steps);

struct PreTokenizerStep {
  enum class Kind {
    kByteLevel,  // GPT-2's regular expression, if use_regex; must be the last step
    kRegex,
    kLiteral,
    kDigits  // each character of Rust's char::is_numeric alone, or runs of them
  };
  // What happens to a match of kRegex and kLiteral, as in Hugging Face's Split.
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  Kind kind;
  std::string pattern;  // kRegex, kLiteral
  Behavior behavior = Behavior::kIsolated;
  bool invert = false;             // kRegex, kLiteral: the gaps are the matches
  bool individual_digits = false;  // kDigits
  bool use_regex = true;           // kByteLevel
  bool add_prefix_space = false;   // kByteLevel: a space before each piece that does not begin with one
};

// Pre-tokens, in order. They refer to the text that was split, or to `added`.
struct PreTokens {
  std::vector<std::string_view> pieces;
  std::vector<std::unique_ptr<std::string>> added;  // pieces that differ from the text, by a prefix space
  void clear() {
    pieces.clear();
    added.clear();
  }
};

class Splitter {
 public:
  virtual ~Splitter() = default;
  // Appends to `out` the pre-tokens of the beginning of `text` that no continuation can change. Returns the bytes of
  // `text` that they cover; all of them if the part ends the text. The next call's text begins with the bytes that were
  // not covered. A part with `begins` begins a new text; its state is forgotten. Time is linear in the length of
  // `text`: a caller that calls again after 0 bytes were covered waits until the text has doubled.
  // Throws DataError if a regular expression takes too long.
  virtual size_t split(std::string_view text, PartOfText part, PreTokens& out) = 0;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // A splitter must not outlive its pre-tokenizer.
  virtual std::unique_ptr<Splitter> make_splitter() const = 0;
};
// Throws DataError for a step that is not supported, and for a regular expression that cannot be compiled, with its
// place.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(std::vector<PreTokenizerStep> steps);

// Whether `pattern` is one of the published regular expressions, which have scanners of their own and the Unicode
// version of Hugging Face's tokenizers. Other patterns use PCRE2, whose tables may be older.
bool is_published_pattern(std::string_view pattern);
std::string other_patterns_unicode_version();  // such as "14.0.0"

}  // namespace ropewalk

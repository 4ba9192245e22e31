// The two stages of a tokenizer.json that come before the byte-pair merges: normalizers change text, pre-tokenizers cut
// it into pre-tokens, which merges never cross. Both work on text in UTF-8 that ends between characters, and take a
// text in parts: what they return for the parts together is what they would return for the whole.
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

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Appends to `out` the normalized form of the beginning of `text` that no continuation can change. Returns the bytes
  // of `text` that this was; all of them if the part ends the text.
  virtual size_t normalize(std::string_view text, PartOfText part, std::string& out) const = 0;
};
std::unique_ptr<Normalizer> make_normalizer(std::vector<NormalizerStep> steps);

struct PreTokenizerStep {
  enum class Kind {
    kByteLevel,  // GPT-2's regular expression, if use_regex
    kRegex,
    kLiteral,
    kDigits  // \p{N}: each alone, or runs of them
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

// Pre-tokens, in order. They refer to the text that was split, or to `added`; split() invalidates the earlier ones.
struct PreTokens {
  std::vector<std::string_view> pieces;
  std::vector<std::unique_ptr<std::string>> added;  // pieces that differ from the text, by a prefix space
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Sets `out` to the pre-tokens of the beginning of `text` that no continuation can change. Returns the bytes of
  // `text` that they cover; all of them if the part ends the text.
  virtual size_t split(std::string_view text, PartOfText part, PreTokens& out) const = 0;
};
// Throws DataError for a regular expression that cannot be compiled, with its place.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(std::vector<PreTokenizerStep> steps);

}  // namespace ropewalk

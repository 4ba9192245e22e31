#include "trainer/tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "kernels/error.h"
#include "trainer/text/utf8.h"
#include "trainer/tokenizer/published_patterns.h"
#include "trainer/tokenizer/regex.h"
#include "trainer/tokenizer/split_step.h"

namespace ropewalk {
namespace {

using Kind = PreTokenizerStep::Kind;

// The end of a sequence of steps: a piece is a pre-token.
class WholePieces : public Splitter {
 public:
  size_t split(std::string_view text, PartOfText part, PreTokens& out) override {
    if (!part.ends || text.empty()) return 0;
    out.pieces.push_back(text);
    return text.size();
  }
};

// Splits each text as if a space preceded it, unless it begins with one. The splitter that follows must keep no state,
// so that the text can go on after its first pre-token.
class PrefixSpace : public Splitter {
 public:
  explicit PrefixSpace(std::unique_ptr<Splitter> next) : next_(std::move(next)) {}

  size_t split(std::string_view text, PartOfText part, PreTokens& out) override {
    size_t covered = 0;
    if (part.begins && !text.empty() && text.front() != ' ') {
      covered = split_first(text, part.ends, out);
      if (covered == 0) return 0;
    }
    return covered +
           next_->split(text.substr(covered), {.begins = part.begins && covered == 0, .ends = part.ends}, out);
  }

 private:
  // Appends the first pre-token of " " + text, and returns its bytes in the text; 0 if it is not certain. Copies no
  // more of the text than about twice the pre-token.
  size_t split_first(std::string_view text, bool ends, PreTokens& out) {
    for (size_t length = 64;; length *= 2) {
      const bool whole = length >= text.size();
      const size_t known = whole ? text.size() : length_in_whole_characters(text.substr(0, length));
      auto copy = std::make_unique<std::string>(" ");
      *copy += text.substr(0, known);
      PreTokens begin;
      next_->split(*copy, {.begins = true, .ends = ends && whole}, begin);
      const bool alone = !begin.pieces.empty() && begin.pieces.front() == " ";  // white space follows
      if (begin.pieces.size() > (alone ? 1 : 0)) {
        const size_t covered = begin.pieces[alone ? 1 : 0].size() - (alone ? 0 : 1);
        copy->resize(begin.pieces.front().size());
        out.pieces.push_back(*copy);
        out.added.push_back(std::move(copy));
        if (alone) out.pieces.push_back(text.substr(0, covered));
        return covered;
      }
      if (whole) return 0;
    }
  }

  std::unique_ptr<Splitter> next_;
};

// Marks the matches of a published pattern, for the behaviors that join or remove them.
class ScannerFinder : public Finder {
 public:
  explicit ScannerFinder(std::string_view pattern) : scanner_(make_scanner(pattern)) {}
  Found find(std::string_view text, size_t from, bool ends) override {
    for (size_t length = 64;; length *= 2) {
      const bool whole = from + length >= text.size();
      const size_t known = whole ? text.size() - from : length_in_whole_characters(text.substr(from, length));
      matches_.clear();
      scanner_->split(text.substr(from, known), {.begins = true, .ends = ends && whole}, matches_);
      if (!matches_.pieces.empty()) return {from, from + matches_.pieces.front().size()};
      if (whole) return {from, from};
    }
  }

 private:
  std::unique_ptr<Splitter> scanner_;
  PreTokens matches_;
};

class Steps : public PreTokenizer {
 public:
  explicit Steps(std::vector<PreTokenizerStep> steps) : steps_(std::move(steps)) {
    if (!steps_.empty() && does_nothing(steps_.back())) steps_.pop_back();
    regexes_.resize(steps_.size());
    for (size_t i = 0; i < steps_.size(); ++i) {
      const PreTokenizerStep& step = steps_[i];
      if (step.kind == Kind::kByteLevel && i + 1 < steps_.size())
        throw DataError("a pre-tokenizer follows ByteLevel, which must be the last one");
      if ((step.kind == Kind::kLiteral || step.kind == Kind::kRegex) && step.pattern.empty())
        throw DataError("a pre-tokenizer splits by an empty pattern, which is not supported");
      if (step.kind == Kind::kRegex && !is_published_pattern(step.pattern)) regexes_[i] = make_regex(step.pattern);
    }
  }

  std::unique_ptr<Splitter> make_splitter() const override {
    std::unique_ptr<Splitter> splitter;
    for (size_t i = steps_.size(); i-- > 0;) splitter = make_step(i, std::move(splitter));
    return splitter ? std::move(splitter) : std::make_unique<WholePieces>();
  }

 private:
  // The splitter of step i, which gives its pieces to `next`; nullptr if none follows.
  std::unique_ptr<Splitter> make_step(size_t i, std::unique_ptr<Splitter> next) const {
    const PreTokenizerStep& step = steps_[i];
    const bool last = !next;
    if (last) next = std::make_unique<WholePieces>();
    switch (step.kind) {
      case Kind::kByteLevel:
        if (step.use_regex) next = make_scanner(kGpt2Pattern);
        return step.add_prefix_space ? std::make_unique<PrefixSpace>(std::move(next)) : std::move(next);
      case Kind::kDigits:
        return make_split_step(make_digit_finder(),
                               step.individual_digits ? Behavior::kIsolated : Behavior::kContiguous, false,
                               std::move(next));
      case Kind::kLiteral:
        return make_split_step(make_literal_finder(step.pattern), step.behavior, step.invert, std::move(next));
      case Kind::kRegex:
        break;
    }
    if (regexes_[i]) return make_split_step(regexes_[i]->make_finder(), step.behavior, step.invert, std::move(next));
    if (last && keeps_matches_apart(step)) return make_scanner(step.pattern);
    return make_split_step(std::make_unique<ScannerFinder>(step.pattern), step.behavior, step.invert, std::move(next));
  }

  static bool does_nothing(const PreTokenizerStep& step) {
    return step.kind == Kind::kByteLevel && !step.use_regex && !step.add_prefix_space;
  }
  // Whether the pieces of a published pattern are its matches: it leaves no gaps.
  static bool keeps_matches_apart(const PreTokenizerStep& step) {
    return step.behavior != Behavior::kContiguous && (step.behavior != Behavior::kRemoved || step.invert);
  }

  std::vector<PreTokenizerStep> steps_;
  std::vector<std::unique_ptr<Regex>> regexes_;  // of the steps that have one
};

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(std::vector<PreTokenizerStep> steps) {
  return std::make_unique<Steps>(std::move(steps));
}

}  // namespace ropewalk

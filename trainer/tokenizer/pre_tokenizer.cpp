#include "trainer/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "trainer/tokenizer/regex.h"
#include "trainer/tokenizer/scanner.h"
#include "trainer/tokenizer/unicode_classes.h"

namespace ropewalk {
namespace {

using Step = PreTokenizerStep;
using Pieces = std::vector<std::string_view>;

// The one space that ByteLevel puts before a piece; `added` owns the new text.
std::string_view with_space(std::string_view piece, PreTokens& out) {
  if (piece.starts_with(' ')) return piece;
  return *out.added.emplace_back(std::make_unique<std::string>(" " + std::string(piece)));
}

class ScannedPreTokenizer : public PreTokenizer {
 public:
  ScannedPreTokenizer(Scanner scanner, bool add_prefix_space)
      : scanner_(scanner), add_prefix_space_(add_prefix_space) {}

  size_t split(std::string_view text, PartOfText part, PreTokens& out) const override {
    out.pieces.clear();
    out.added.clear();
    const bool adds = add_prefix_space_ && part.begins && !text.empty() && text.front() != ' ';
    const size_t used = scan(scanner_, adds ? with_space(text, out) : text, part.ends, out.pieces);
    return adds && used > 0 ? used - 1 : used;
  }

 private:
  Scanner scanner_;
  bool add_prefix_space_;
};

// The matches of a pattern: by a scanner, if one knows it.
class Matcher {
 public:
  explicit Matcher(const std::string& pattern) : scanner_(scanner_for(pattern)) {
    if (!scanner_) regex_.emplace(pattern);
  }

  bool looks_behind() const { return regex_ && regex_->looks_behind(); }

  std::vector<Regex::Match> matches(std::string_view text, bool ends) const {
    if (regex_) return regex_->matches(text, ends);
    Pieces pieces;
    scan(*scanner_, text, ends, pieces);
    std::vector<Regex::Match> found;
    for (const std::string_view piece : pieces) {
      const size_t begin = found.empty() ? 0 : found.back().end;
      found.push_back({begin, begin + piece.size()});
    }
    return found;
  }

 private:
  std::optional<Scanner> scanner_;
  std::optional<Regex> regex_;
};

// A stretch of a piece: a match, or what lies between two.
struct Stretch {
  std::string_view text;
  bool is_match;
};

// Alternately gaps and matches, which cover the piece.
std::vector<Stretch> stretches_of(std::string_view piece, const std::vector<Regex::Match>& matches) {
  std::vector<Stretch> out;
  size_t at = 0;
  for (const auto& [begin, end] : matches) {
    if (begin > at) out.push_back({piece.substr(at, begin - at), false});
    out.push_back({piece.substr(begin, end - begin), true});
    at = end;
  }
  if (at < piece.size()) out.push_back({piece.substr(at), false});
  return out;
}

std::string_view joined(std::string_view first, std::string_view second) {
  return {first.data(), first.size() + second.size()};
}

// What a behavior makes of the stretches. Of consecutive matches, only the first is merged with its neighbour.
void add_pieces(std::vector<Stretch> stretches, Step::Behavior behavior, Pieces& out) {
  if (behavior == Step::Behavior::kMergedWithNext) std::ranges::reverse(stretches);
  bool after_match = false;
  const size_t first = out.size();
  for (const auto& [text, is_match] : stretches) {
    const bool has_before = out.size() > first;
    if (behavior == Step::Behavior::kRemoved) {
      if (!is_match) out.push_back(text);
    } else if (behavior == Step::Behavior::kMergedWithPrevious && is_match && !after_match && has_before) {
      out.back() = joined(out.back(), text);
    } else if (behavior == Step::Behavior::kMergedWithNext && is_match && !after_match && has_before) {
      out.back() = joined(text, out.back());
    } else if (behavior == Step::Behavior::kContiguous && is_match == after_match && has_before) {
      out.back() = joined(out.back(), text);
    } else {
      out.push_back(text);
    }
    after_match = is_match;
  }
  if (behavior == Step::Behavior::kMergedWithNext)
    std::reverse(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
}

std::vector<Regex::Match> numbers_in(std::string_view piece) {
  const CharacterClasses& classes = CharacterClasses::of_digits();
  std::vector<Regex::Match> found;
  for (size_t at = 0; at < piece.size();) {
    const auto byte = static_cast<uint8_t>(piece[at]);
    const size_t bytes = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    if (classes[character_at(piece, at)] == CharacterClass::kNumber) found.push_back({at, at + bytes});
    at += bytes;
  }
  return found;
}

std::vector<Regex::Match> literals_in(std::string_view piece, std::string_view literal) {
  std::vector<Regex::Match> found;
  for (size_t at = piece.find(literal); at != piece.npos; at = piece.find(literal, at + literal.size()))
    found.push_back({at, at + literal.size()});
  return found;
}

// One step after the other, each over all pieces of the one before.
class SteppedPreTokenizer : public PreTokenizer {
 public:
  explicit SteppedPreTokenizer(std::vector<Step> steps) {
    for (Step& step : steps) {
      std::optional<Matcher> matcher;
      if (step.kind == Step::Kind::kRegex) matcher.emplace(step.pattern);
      stages_.push_back({std::move(step), std::move(matcher)});
    }
  }

  size_t split(std::string_view text, PartOfText part, PreTokens& out) const override {
    out.pieces.clear();
    out.added.clear();
    if (text.empty() || (!part.ends && !can_stream())) return 0;
    size_t used = text.size();
    std::span<const Stage> stages = stages_;
    if (part.ends) {
      out.pieces = {text};
    } else {
      const std::vector<Regex::Match> found = stages.front().matcher->matches(text, false);
      used = found.empty() ? 0 : found.back().end;
      cut(stages.front().step, text.substr(0, used), found, out.pieces);
      stages = stages.subspan(1);
    }
    for (const Stage& stage : stages) {
      const Pieces pieces = std::exchange(out.pieces, {});
      for (const std::string_view piece : pieces) apply(stage, piece, out);
    }
    return used;
  }

 private:
  struct Stage {
    Step step;
    std::optional<Matcher> matcher;  // of kRegex
  };

  // Pieces up to a match are certain if the first step cuts without a look at what precedes. Otherwise the whole text
  // is needed.
  bool can_stream() const {
    const auto& [step, matcher] = stages_.front();
    const bool cuts = step.behavior == Step::Behavior::kIsolated || step.behavior == Step::Behavior::kRemoved;
    return matcher && !matcher->looks_behind() && cuts;
  }

  static void apply(const Stage& stage, std::string_view piece, PreTokens& out) {
    const Step& step = stage.step;
    switch (step.kind) {
      case Step::Kind::kByteLevel: {
        const std::string_view text = step.add_prefix_space ? with_space(piece, out) : piece;
        if (step.use_regex) {
          scan(Scanner::kGpt2, text, true, out.pieces);
        } else {
          out.pieces.push_back(text);
        }
        break;
      }
      case Step::Kind::kDigits:
        return add_pieces(stretches_of(piece, numbers_in(piece)),
                          step.individual_digits ? Step::Behavior::kIsolated : Step::Behavior::kContiguous, out.pieces);
      case Step::Kind::kRegex:
        return cut(step, piece, stage.matcher->matches(piece, true), out.pieces);
      case Step::Kind::kLiteral:
        return cut(step, piece, literals_in(piece, step.pattern), out.pieces);
    }
  }

  static void cut(const Step& step, std::string_view piece, const std::vector<Regex::Match>& matches, Pieces& out) {
    std::vector<Stretch> stretches = stretches_of(piece, matches);
    if (step.invert)
      for (Stretch& stretch : stretches) stretch.is_match = !stretch.is_match;
    add_pieces(std::move(stretches), step.behavior, out);
  }

  std::vector<Stage> stages_;
};

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(std::vector<PreTokenizerStep> steps) {
  const bool add_prefix_space = std::ranges::any_of(steps, &Step::add_prefix_space);
  const std::optional<Scanner> scanner = scanner_for(steps);
  if (scanner && (!add_prefix_space || steps.size() == 1))
    return std::make_unique<ScannedPreTokenizer>(*scanner, add_prefix_space);
  return std::make_unique<SteppedPreTokenizer>(std::move(steps));
}

}  // namespace ropewalk

#include "trainer/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <optional>
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
      std::optional<Regex> regex;
      if (step.kind == Step::Kind::kRegex) regex.emplace(step.pattern);
      stages_.push_back({std::move(step), std::move(regex)});
    }
  }

  size_t split(std::string_view text, PartOfText part, PreTokens& out) const override {
    out.pieces.clear();
    out.added.clear();
    const size_t used = part.ends ? text.size() : certain(text);
    if (used > 0) out.pieces = {text.substr(0, used)};
    for (const Stage& stage : stages_) {
      const Pieces pieces = std::exchange(out.pieces, {});
      for (const std::string_view piece : pieces) apply(stage, piece, out);
    }
    return used;
  }

 private:
  struct Stage {
    Step step;
    std::optional<Regex> regex;
  };

  // Up to where the pieces are certain though the text goes on: the last match of the first step that is, if it cuts
  // without a look at what precedes. Other steps need the whole text.
  size_t certain(std::string_view text) const {
    if (stages_.empty()) return 0;
    const auto& [step, regex] = stages_.front();
    const bool cuts = step.behavior == Step::Behavior::kIsolated || step.behavior == Step::Behavior::kRemoved;
    if (!regex || regex->looks_behind() || !cuts) return 0;
    const std::vector<Regex::Match> found = regex->matches(text, false);
    return found.empty() ? 0 : found.back().end;
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
        return;
      }
      case Step::Kind::kDigits:
        return add_pieces(stretches_of(piece, numbers_in(piece)),
                          step.individual_digits ? Step::Behavior::kIsolated : Step::Behavior::kContiguous, out.pieces);
      default:
        break;
    }
    std::vector<Stretch> stretches =
        stretches_of(piece, stage.regex ? stage.regex->matches(piece, true) : literals_in(piece, step.pattern));
    if (step.invert)
      for (Stretch& stretch : stretches) stretch.is_match = !stretch.is_match;
    add_pieces(std::move(stretches), step.behavior, out.pieces);
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

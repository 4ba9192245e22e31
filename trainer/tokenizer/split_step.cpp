#include "trainer/tokenizer/split_step.h"

#include <algorithm>
#include <cstring>

#include "kernels/error.h"
#include "trainer/tokenizer/character_classes.h"

namespace ropewalk {
namespace {

class LiteralFinder : public Finder {
 public:
  explicit LiteralFinder(std::string literal) : literal_(std::move(literal)) {}

  Found find(std::string_view text, size_t from, bool ends) override {
    const size_t begin = text.find(literal_, from);
    if (begin != std::string_view::npos) return {begin, begin + literal_.size()};
    if (!ends) {
      for (size_t length = std::min(literal_.size() - 1, text.size() - from); length > 0; --length) {
        if (text.ends_with(std::string_view(literal_).substr(0, length)))
          return {text.size() - length, text.size() - length};
      }
    }
    return {text.size(), text.size()};
  }

 private:
  std::string literal_;
};

class DigitFinder : public Finder {
 public:
  Found find(std::string_view text, size_t from, bool) override {
    const char* const end = text.data() + text.size();
    for (const char* at = text.data() + from; at != end;) {
      if (end - at >= 8 && !may_have_digit(at)) {
        at += 8;
        continue;
      }
      const Character character = classes_.at(at);
      const auto begin = static_cast<size_t>(at - text.data());
      if (character.classes & kNumeric) return {begin, begin + character.bytes};
      at += character.bytes;
    }
    return {text.size(), text.size()};
  }

 private:
  // Whether one of eight bytes is an ASCII digit, or not ASCII. All bytes are compared at once: 0x80 - '0' carries a
  // byte that is at least '0' into its highest bit, 0x7F - '9' one that is above '9'.
  static bool may_have_digit(const char* at) {
    constexpr uint64_t kEach = 0x0101010101010101, kHighest = 0x80 * kEach;
    uint64_t bytes;
    std::memcpy(&bytes, at, sizeof bytes);
    const uint64_t digits = (bytes + kEach * (0x80 - '0')) & ~(bytes + kEach * (0x7F - '9'));
    return ((bytes | digits) & kHighest) != 0;
  }

  const CharacterClasses& classes_ = CharacterClasses::get();
};

class SplitStep : public Splitter {
 public:
  SplitStep(std::unique_ptr<Finder> finder, Behavior behavior, bool invert, std::unique_ptr<Splitter> next)
      : finder_(std::move(finder)), behavior_(behavior), invert_(invert), next_(std::move(next)) {}

  size_t split(std::string_view text, PartOfText part, PreTokens& out) override {
    if (part.begins) state_ = {};
    size_t piece = 0;  // where the open piece begins, or goes on
    size_t at = state_.known;
    while (at < text.size()) {
      const Finder::Found found = finder_->find(text, at, part.ends);
      if (found.begin > at) add_segment(text, at, false, piece, out);
      at = found.begin;
      if (found.end == found.begin) break;
      add_segment(text, at, true, piece, out);
      at = found.end;
      if (parts(true, true) && parts(true, false)) close(text, at, piece, out);
    }
    if (part.ends) {
      close(text, at, piece, out);
      return piece;
    }
    piece += pass_on_open(text.substr(piece, at - piece), out);
    state_.known = at - piece;
    return piece;
  }

 private:
  // Of the open piece: the bytes that are certain but not covered yet; whether there is a segment in it, and whether
  // its last one is a match; whether the next splitter has covered a part of it.
  struct State {
    size_t known = 0;
    bool open = false, last_is_match = false, begun = false;
  };

  // Whether a piece ends between two neighbouring segments.
  bool parts(bool match, bool next_match) const {
    const bool first = match != invert_, second = next_match != invert_;
    switch (behavior_) {
      case Behavior::kIsolated:
      case Behavior::kRemoved:
        return true;
      case Behavior::kMergedWithPrevious:
        return first || !second;
      case Behavior::kMergedWithNext:
        return !first || second;
      case Behavior::kContiguous:
        return first != second;
    }
    return true;
  }
  bool removed() const { return behavior_ == Behavior::kRemoved && state_.last_is_match != invert_; }

  // A match or a gap that begins at `at` follows; what has been found of a gap may go on.
  void add_segment(std::string_view text, size_t at, bool match, size_t& piece, PreTokens& out) {
    const bool gap_goes_on = !match && !state_.last_is_match;
    if (state_.open && !gap_goes_on && parts(state_.last_is_match, match)) close(text, at, piece, out);
    state_.open = true;
    state_.last_is_match = match;
  }

  void close(std::string_view text, size_t end, size_t& piece, PreTokens& out) {
    if (end > piece && !removed()) {
      const std::string_view last = text.substr(piece, end - piece);
      const size_t covered = next_->split(last, {.begins = !state_.begun, .ends = true}, out);
      CHECK(covered == last.size(), "of a whole piece of {} bytes, {} were split", last.size(), covered);
    }
    piece = end;
    state_ = {};
  }

  size_t pass_on_open(std::string_view piece, PreTokens& out) {
    if (piece.empty() || removed()) return piece.size();
    const size_t covered = next_->split(piece, {.begins = !state_.begun, .ends = false}, out);
    state_.begun |= covered > 0;
    return covered;
  }

  std::unique_ptr<Finder> finder_;
  Behavior behavior_;
  bool invert_;
  std::unique_ptr<Splitter> next_;
  State state_;
};

}  // namespace

std::unique_ptr<Finder> make_literal_finder(std::string literal) {
  return std::make_unique<LiteralFinder>(std::move(literal));
}
std::unique_ptr<Finder> make_digit_finder() { return std::make_unique<DigitFinder>(); }
std::unique_ptr<Splitter> make_split_step(std::unique_ptr<Finder> finder, Behavior behavior, bool invert,
                                          std::unique_ptr<Splitter> next) {
  return std::make_unique<SplitStep>(std::move(finder), behavior, invert, std::move(next));
}

}  // namespace ropewalk

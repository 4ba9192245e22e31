#include "trainer/tokenizer/added_tokens.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/error.h"
#include "trainer/text/utf8.h"
#include "trainer/tokenizer/character_classes.h"

namespace ropewalk {
namespace {

struct Range {
  uint32_t begin, end;
};
constexpr Range kWords[] = {
#include "trainer/tokenizer/word_ranges.inc"
};

bool is_continuation(char byte) { return (static_cast<uint8_t>(byte) & 0xc0) == 0x80; }

size_t next_character(std::string_view text, size_t at) {
  do ++at;
  while (at < text.size() && is_continuation(text[at]));
  return at;
}

size_t previous_character(std::string_view text, size_t at) {
  do --at;
  while (at > 0 && is_continuation(text[at]));
  return at;
}

bool is_word_at(std::string_view text, size_t at) {
  return is_word_character(CharacterClasses::code_point(text.data() + at));
}

bool is_space_at(std::string_view text, size_t at) {
  return (CharacterClasses::get().at(text.data() + at).classes & kSpace) != 0;
}

}  // namespace

bool is_word_character(uint32_t character) {
  const Range* after = std::ranges::upper_bound(kWords, character, {}, &Range::begin);
  return after != std::begin(kWords) && character < after[-1].end;
}

AddedTokenSet::AddedTokenSet(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)), token_of_{-1} {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& content = tokens_[i].content;
    CHECK(!content.empty(), "added token {} is empty", tokens_[i].id);
    int32_t node = 0;
    for (const char byte : content) {
      const auto [child, is_new] = children_.try_emplace({node, byte}, static_cast<int32_t>(token_of_.size()));
      if (is_new) token_of_.push_back(-1);
      node = child->second;
    }
    token_of_[static_cast<size_t>(node)] = static_cast<int32_t>(i);
    first_bytes_[static_cast<uint8_t>(content.front())] = true;
    longest_ = std::max(longest_, content.size());
    strips_left_ = strips_left_ || tokens_[i].lstrip;
  }
}

const AddedToken* AddedTokenSet::longest_at(std::string_view text, bool text_is_plain) const {
  const AddedToken* found = nullptr;
  int32_t node = 0;
  for (const char byte : text) {
    const auto child = children_.find({node, byte});
    if (child == children_.end()) break;
    node = child->second;
    const int32_t token = token_of_[static_cast<size_t>(node)];
    if (token >= 0 && !(text_is_plain && tokens_[static_cast<size_t>(token)].special))
      found = &tokens_[static_cast<size_t>(token)];
  }
  return found;
}

void AddedTokenFinder::append(std::string_view text, AddedTokens added, bool ends) {
  if (tokens_.empty() && !ends) {  // nothing to hold back
    in_stretch_ = in_stretch_ || !text.empty();
    return sink_.text(text, added, false);
  }
  held_ += text;
  if (runs_.empty() || runs_.back().added != added) runs_.push_back({held_.size(), added});
  runs_.back().end = held_.size();
  // Text that was held back is searched again only when it has doubled, so that its length counts once.
  if (!ends && held_.size() < 2 * tried_) return;
  search(ends);
  tried_ = held_.size();
  if (!ends) return;
  runs_.clear();
  in_stretch_ = after_word_ = false;
}

void AddedTokenFinder::search(bool ends) {
  // Tokens that begin before `limit` are known: longer ones would be visible.
  const size_t longest = tokens_.longest();
  const size_t limit =
      ends ? held_.size() : held_.size() + 1 - std::min(held_.size() + 1, std::max<size_t>(longest, 1));
  size_t at = searched_;
  while (const std::optional<Match> match = find(at, limit)) {
    size_t begin = match->begin, end = match->end;
    const AddedToken& token = *match->token;
    if (token.lstrip)
      while (begin > emitted_ && is_space_at(held_, previous_character(held_, begin)))
        begin = previous_character(held_, begin);
    if (token.rstrip) {
      end = std::max(end, emitted_);  // only white space, which the token before has taken, lies between
      while (end < held_.size() && is_space_at(held_, end)) end = next_character(held_, end);
    }
    // What follows decides whether this is a single word, and how much white space is taken.
    if (!ends && end == held_.size() && (token.rstrip || token.single_word)) break;
    at = match->end;
    if (token.single_word && !is_single_word(match->begin, match->end)) continue;
    if (token.lstrip && end <= emitted_) continue;  // white space that the token before has taken
    emit(begin, true);
    sink_.token(token.id);
    emitted_ = end;
  }
  if (ends) {
    emit(held_.size(), true);
    held_.clear();
    emitted_ = searched_ = 0;
    return;
  }
  searched_ = at;
  size_t certain = std::max(emitted_, std::min(at, limit));
  while (certain > emitted_ && is_continuation(held_[certain])) --certain;
  if (tokens_.strips_left())
    while (certain > emitted_ && is_space_at(held_, previous_character(held_, certain)))
      certain = previous_character(held_, certain);
  emit(certain, false);
  forget(std::min(certain, at));  // white space that a token took may hold the beginning of the next
}

std::optional<AddedTokenFinder::Match> AddedTokenFinder::find(size_t& at, size_t limit) const {
  for (; at < limit; ++at) {
    if (!tokens_.may_begin(held_[at])) continue;
    const auto run = std::ranges::upper_bound(runs_, at, {}, &Run::end);
    // A special token must lie in text that recognizes it, as a whole.
    const bool plain = run->added == AddedTokens::kAsText;
    const AddedToken* token = tokens_.longest_at(std::string_view(held_).substr(at), plain);
    if (token && token->special && at + token->content.size() > run->end)
      token = tokens_.longest_at(std::string_view(held_).substr(at), true);
    if (token) return Match{token, at, at + token->content.size()};
  }
  return std::nullopt;
}

bool AddedTokenFinder::is_single_word(size_t begin, size_t end) const {
  const bool touches_before = begin == 0 ? after_word_ : is_word_at(held_, previous_character(held_, begin));
  return !touches_before && (end == held_.size() || !is_word_at(held_, end));
}

void AddedTokenFinder::emit(size_t end, bool ends) {
  end = std::max(end, emitted_);
  bool said = false;
  for (auto run = std::ranges::upper_bound(runs_, emitted_, {}, &Run::end); emitted_ < end; ++run) {
    const size_t to = std::min(end, run->end);
    said = ends && to == end;
    sink_.text(std::string_view(held_).substr(emitted_, to - emitted_), run->added, said);
    emitted_ = to;
    in_stretch_ = true;
  }
  if (ends && in_stretch_ && !said) sink_.text({}, AddedTokens::kRecognize, true);
  if (ends) in_stretch_ = false;
}

// Drops held text, up to a character.
void AddedTokenFinder::forget(size_t bytes) {
  while (bytes > 0 && is_continuation(held_[bytes])) --bytes;
  if (bytes == 0) return;
  after_word_ = is_word_at(held_, previous_character(held_, bytes));
  held_.erase(0, bytes);
  emitted_ -= bytes;
  searched_ = searched_ > bytes ? searched_ - bytes : 0;
  for (Run& run : runs_) run.end = run.end > bytes ? run.end - bytes : 0;
  std::erase_if(runs_, [](const Run& run) { return run.end == 0; });
}

}  // namespace ropewalk

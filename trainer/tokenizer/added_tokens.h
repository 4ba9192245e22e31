// The added tokens of a tokenizer.json: texts that become a token before anything else happens to the text around them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/tokenizer/pre_tokenizer.h"
#include "trainer/tokenizer/tokenizer.h"

namespace ropewalk {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  // only if no letter, digit, mark or '_' touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool normalized = false;   // is sought in normalized text
  bool special = false;      // decode() may leave it out; AddedTokens::kAsText does not recognize it
};

// The texts of some added tokens, to be found in text: the longest at the leftmost place.
class AddedTokenSet {
 public:
  AddedTokenSet() = default;
  explicit AddedTokenSet(std::vector<AddedToken> tokens);  // with different contents

  bool empty() const { return tokens_.empty(); }
  size_t longest() const { return longest_; }        // bytes
  bool strips_left() const { return strips_left_; }  // some token does
  bool may_begin(char byte) const { return first_bytes_[static_cast<uint8_t>(byte)]; }
  // The longest token that is a beginning of `text`; null if there is none. `text_is_plain`: no special token.
  const AddedToken* longest_at(std::string_view text, bool text_is_plain) const;

 private:
  std::vector<AddedToken> tokens_;
  // A trie: node 0 is the root; children by (node, byte).
  std::map<std::pair<int32_t, char>, int32_t> children_;
  std::vector<int32_t> token_of_;  // of a node; -1: none ends here
  std::array<bool, 256> first_bytes_{};
  size_t longest_ = 0;
  bool strips_left_ = false;
};

// Cuts a text, which comes in pieces, at the added tokens of a set, as Hugging Face's tokenizers does.
class AddedTokenFinder {
 public:
  struct Sink {
    // Text between tokens, in order: one or more calls for each stretch, the last with `ends`.
    std::function<void(std::string_view text, AddedTokens added, bool ends)> text;
    std::function<void(int32_t id)> token;
  };
  AddedTokenFinder(const AddedTokenSet& tokens, Sink sink) : tokens_(tokens), sink_(std::move(sink)) {}

  // `text` ends between characters. `ends`: the text does; the next call begins another one.
  void append(std::string_view text, AddedTokens added, bool ends);

 private:
  struct Match {
    const AddedToken* token;
    size_t begin, end;
  };
  void search(bool ends);
  // The first token that begins at `at` or later, but before `limit`; moves `at` there, or to `limit`.
  std::optional<Match> find(size_t& at, size_t limit) const;
  bool is_single_word(size_t begin, size_t end) const;
  void emit(size_t end, bool ends);  // the held text before `end`
  void forget(size_t bytes);

  struct Run {
    size_t end;  // in held_
    AddedTokens added;
  };
  const AddedTokenSet& tokens_;
  Sink sink_;
  std::string held_;
  std::vector<Run> runs_;    // of held_
  size_t emitted_ = 0;       // bytes of held_ that the sink has
  size_t searched_ = 0;      // no unknown token begins before
  size_t tried_ = 0;         // bytes of held_ after the last search
  bool in_stretch_ = false;  // the sink has a part of this stretch of text
  bool after_word_ = false;  // the character before held_ is one of a word
};

// Whether a character is of a word: what \w matches in Hugging Face's tokenizers.
bool is_word_character(uint32_t character);

}  // namespace ropewalk

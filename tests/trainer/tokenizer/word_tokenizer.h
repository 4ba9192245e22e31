// A tokenizer for tests whose ids depend on neighbouring text, as with byte-pair encoding: it splits a document by
// " ?\S+|\s+(?!\S)|\s" over characters, and the id of a word is a checksum of its bytes. It is simple, and not linear
// in time.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "trainer/files/crc32c.h"
#include "trainer/text/utf8.h"
#include "trainer/tokenizer/tokenizer.h"

namespace ropewalk {

class WordEncoder : public Encoder {
 public:
  static constexpr int32_t kWords = 60'000;

  void append(std::string_view piece, AddedTokens, std::vector<int32_t>& ids) override {
    held_ += piece;
    take_words(false, ids);
  }
  void finish(std::vector<int32_t>& ids) override { take_words(true, ids); }

 private:
  // Bytes of white space at the beginning of `text`. The character U+3000 has three bytes.
  static size_t space_bytes(std::string_view text) {
    if (text.starts_with(' ') || text.starts_with('\n')) return 1;
    return text.starts_with("\xE3\x80\x80") ? 3 : 0;
  }

  // Length of the first word; 0 if more text could change it. `text` must end between characters.
  static size_t word_length(std::string_view text, bool whole) {
    size_t end = 0, last_space = 0;
    for (size_t bytes; (bytes = space_bytes(text.substr(end))) > 0; end += bytes) last_space = end;
    if (end == text.size()) return whole ? end : 0;
    if (last_space > 0) return last_space;  // the last space may belong to the word that follows
    if (end > 0 && text.front() != ' ') return end;
    while (end < text.size() && space_bytes(text.substr(end)) == 0) ++end;
    return end < text.size() || whole ? end : 0;
  }

  void take_words(bool whole, std::vector<int32_t>& ids) {
    size_t begin = 0;
    const std::string_view known = std::string_view(held_).substr(0, length_in_whole_characters(held_));
    for (size_t length; (length = word_length(known.substr(begin), whole)) > 0; begin += length)
      ids.push_back(static_cast<int32_t>(crc32c(known.substr(begin, length)) % kWords));
    held_.erase(0, begin);
  }

  std::string held_;
};

class WordTokenizer : public Tokenizer {
 public:
  std::unique_ptr<Encoder> make_encoder() const override { return std::make_unique<WordEncoder>(); }
  std::string decode(std::span<const int32_t>, Special) const override { return ""; }
  int64_t vocabulary_size() const override { return WordEncoder::kWords + 1; }
  std::optional<int32_t> end_of_document() const override { return WordEncoder::kWords; }
  std::optional<int32_t> added_token(std::string_view) const override { return std::nullopt; }
  Template special_ids() const override { return {}; }
  TokenizerIdentity identity() const override { return {"words", "", vocabulary_size()}; }
};

// Text of `characters` characters, some of several bytes, with much white space.
inline std::string text_of_words(const auto& random, uint64_t first, size_t characters) {
  constexpr std::string_view kCharacters[] = {"a", "b", " ", " ", "\n", "\xE3\x80\x80", "\xC3\xA9", "\xF0\x9F\x99\x82"};
  std::string text;
  for (uint64_t i = 0; i < characters; ++i) text += kCharacters[random.bits(first + i)[0] % std::size(kCharacters)];
  return text;
}

}  // namespace ropewalk

// The classes of characters by which pre-tokenizers split text, in the version of Unicode that Hugging Face's
// tokenizers uses: \p{L} has 141,028 characters there, in PCRE2 10.42 (Unicode 14) 131,756.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace ropewalk {

enum class CharacterClass : uint8_t {
  kOther,
  kLetter,  // \p{L}
  kNumber,  // \p{N}
  kSpace    // \s
};

class CharacterClasses {
 public:
  static const CharacterClasses& of_regex();
  // The pre-tokenizer Digits knows a newer Unicode, with 13 more numbers.
  static const CharacterClasses& of_digits();

  // `character` is at most 0x10ffff.
  CharacterClass operator[](uint32_t character) const {
    return blocks_[index_[character / kBlock] * size_t{kBlock} + character % kBlock];
  }
  const CharacterClass* ascii() const { return blocks_.data(); }  // [128]

 private:
  explicit CharacterClasses(CharacterClass new_numbers);
  static constexpr uint32_t kBlock = 128, kCharacters = 0x110000;
  std::array<uint16_t, kCharacters / kBlock> index_;  // equal blocks are stored once
  std::vector<CharacterClass> blocks_;                // ASCII is the first
};

// The character that begins at `at`. `text` is valid UTF-8.
uint32_t character_at(std::string_view text, size_t at);

}  // namespace ropewalk

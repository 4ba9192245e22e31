// The classes of characters that the published patterns of tokenizers use, for every code point, as Hugging Face's
// tokenizers 0.23.3 knows them: Unicode 16 in its regular expressions, Unicode 17 in its Digits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ropewalk {

enum CharacterClass : uint8_t {
  kLetter = 1,    // \p{L}
  kNumber = 2,    // \p{N}
  kSpace = 4,     // \s
  kOther = 8,     // [^\s\p{L}\p{N}]
  kUpper = 16,    // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], the first part of a word in o200k's pattern
  kLower = 32,    // [\p{Ll}\p{Lm}\p{Lo}\p{M}], the second part
  kNumeric = 64,  // Rust's char::is_numeric
};

// A character of a text: its classes (no bit at the end of the text), and its length in UTF-8.
struct Character {
  uint8_t classes = 0, bytes = 0;
};

class CharacterClasses {
 public:
  static const CharacterClasses& get();

  uint8_t of(uint32_t code_point) const { return blocks_[block_of_[code_point >> 8] * kBlock + (code_point & 0xFF)]; }
  uint8_t of_ascii(unsigned char byte) const { return ascii_[byte]; }

  // The character at `at`, where a valid character begins.
  Character at(const char* at) const {
    const auto first = static_cast<unsigned char>(*at);
    if (first < 0x80) return {ascii_[first], 1};
    return {of(code_point(at)), static_cast<uint8_t>(first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4)};
  }

  static uint32_t code_point(const char* at) {
    const auto byte = [at](int i) { return static_cast<uint32_t>(static_cast<unsigned char>(at[i])); };
    const uint32_t first = byte(0);
    if (first < 0x80) return first;
    if (first < 0xE0) return (first & 0x1F) << 6 | (byte(1) & 0x3F);
    if (first < 0xF0) return (first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    return (first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  }

 private:
  static constexpr size_t kCodePoints = 0x110000, kBlock = 256;
  CharacterClasses();

  std::array<uint8_t, 256> ascii_{};  // 0 above 127
  std::array<uint8_t, kCodePoints / kBlock> block_of_{};
  std::vector<uint8_t> blocks_;  // the different blocks of 256 code points
};

}  // namespace ropewalk

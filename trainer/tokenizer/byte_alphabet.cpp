#include "trainer/tokenizer/byte_alphabet.h"

#include <array>

namespace ropewalk {
namespace {

constexpr int kCharacters = 0x144;  // the alphabet's are below

struct Alphabet {
  std::array<uint16_t, 256> character_of{};
  std::array<int16_t, kCharacters> byte_of{};  // -1: none
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  alphabet.byte_of.fill(-1);
  uint16_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool same = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    const uint16_t character = same ? static_cast<uint16_t>(byte) : next++;
    alphabet.character_of[static_cast<size_t>(byte)] = character;
    alphabet.byte_of[character] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::string letter_of(uint8_t byte) {
  const uint16_t character = kAlphabet.character_of[byte];
  if (character < 0x80) return {static_cast<char>(character)};
  return {static_cast<char>(0xc0 | character >> 6), static_cast<char>(0x80 | (character & 0x3f))};
}

std::optional<std::string> bytes_of_letters(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    const auto first = static_cast<uint8_t>(text[at]);
    int character = first;
    if (first >= 0xe0) return std::nullopt;  // beyond U+07ff
    if (first >= 0x80) character = (first & 0x1f) << 6 | (static_cast<uint8_t>(text[at + 1]) & 0x3f);
    if (character >= kCharacters || kAlphabet.byte_of[static_cast<size_t>(character)] < 0) return std::nullopt;
    bytes += static_cast<char>(kAlphabet.byte_of[static_cast<size_t>(character)]);
    at += first >= 0x80 ? 2 : 1;
  }
  return bytes;
}

std::string letters_of_bytes(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += letter_of(static_cast<uint8_t>(byte));
  return text;
}

}  // namespace ropewalk

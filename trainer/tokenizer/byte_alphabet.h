// The alphabet of byte-level tokenizers: each byte is written as one printable character. Bytes 0x21-0x7e, 0xa1-0xac
// and 0xae-0xff are the characters of the same number; the other 68 are U+0100, U+0101, ... in their order (GPT-2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ropewalk {

std::string letter_of(uint8_t byte);  // in UTF-8

// The bytes that a token's text stands for; nullopt if a character is not of the alphabet. `text` is valid UTF-8.
std::optional<std::string> bytes_of_letters(std::string_view text);
std::string letters_of_bytes(std::string_view bytes);

}  // namespace ropewalk

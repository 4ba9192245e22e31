#include "trainer/text/utf8.h"

#include <simdjson.h>

#include <algorithm>

namespace ropewalk {
namespace {

// Length of a character by its first byte; 0 for a byte that cannot begin a character.
size_t promised_length(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first < 0xE0) return 2;
  if (first >= 0xE0 && first < 0xF0) return 3;
  if (first >= 0xF0 && first < 0xF5) return 4;
  return 0;
}

bool continues(unsigned char byte) { return (byte & 0xC0) == 0x80; }

// Whether the byte may follow the first one of a character: no overlong form, surrogate, or value above U+10FFFF.
bool is_second(unsigned char first, unsigned char byte) {
  if (first == 0xE0) return byte >= 0xA0 && byte < 0xC0;
  if (first == 0xED) return byte >= 0x80 && byte < 0xA0;
  if (first == 0xF0) return byte >= 0x90 && byte < 0xC0;
  if (first == 0xF4) return byte >= 0x80 && byte < 0x90;
  return continues(byte);
}

// Length of the character at the beginning of `text`; 0 if it is invalid or incomplete.
size_t character_length(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const size_t length = promised_length(at(0));
  if (length == 0 || length > text.size()) return 0;
  if (length > 1 && !is_second(at(0), at(1))) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (!continues(at(i))) return 0;
  }
  return length;
}

// Length of the invalid part at the beginning of `text`: of the longest beginning of a character, at least 1.
size_t invalid_length(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const size_t most = std::min(promised_length(at(0)), text.size());
  if (most < 2 || !is_second(at(0), at(1))) return 1;
  size_t length = 2;
  while (length < most && continues(at(length))) ++length;
  return length;
}

}  // namespace

bool is_utf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

size_t first_invalid_utf8(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return text.size();
  size_t position = 0;
  while (position < text.size()) {
    const size_t length = character_length(text.substr(position));
    if (length == 0) return position;
    position += length;
  }
  return position;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  while (true) {
    const size_t valid = first_invalid_utf8(text);
    out += text.substr(0, valid);
    text.remove_prefix(valid);
    if (text.empty()) return out;
    out += "\xEF\xBF\xBD";
    text.remove_prefix(invalid_length(text));
  }
}

size_t length_in_whole_characters(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (continues(byte)) continue;
    return promised_length(byte) > back ? text.size() - back : text.size();
  }
  return text.size();
}

}  // namespace ropewalk

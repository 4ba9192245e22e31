#include "trainer/text/utf8.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>
#include <string>

namespace ropewalk {
namespace {

// Valid UTF-8 is, by definition, the encodings of all scalar values, and nothing else.
std::string encode(uint32_t value) {
  const auto byte = [](uint32_t bits) { return static_cast<char>(bits); };
  if (value < 0x80) return {byte(value)};
  if (value < 0x800) return {byte(0xC0 | value >> 6), byte(0x80 | (value & 63))};
  if (value < 0x10000) return {byte(0xE0 | value >> 12), byte(0x80 | (value >> 6 & 63)), byte(0x80 | (value & 63))};
  return {byte(0xF0 | value >> 18), byte(0x80 | (value >> 12 & 63)), byte(0x80 | (value >> 6 & 63)),
          byte(0x80 | (value & 63))};
}

TEST(Utf8, EveryScalarValueIsValidAndCutOnlyAtItsEnd) {
  for (uint32_t value = 0; value < 0x110000; ++value) {
    if (value >= 0xD800 && value < 0xE000) continue;
    const std::string text = encode(value);
    ASSERT_EQ(first_invalid_utf8(text), text.size()) << value;
    if (value % 97 != 0) continue;
    ASSERT_TRUE(is_utf8(text)) << value;
    for (size_t length = 1; length < text.size(); ++length) {
      const std::string cut = "a" + text.substr(0, length);
      ASSERT_EQ(length_in_whole_characters(cut), 1u) << value;
      ASSERT_EQ(first_invalid_utf8(cut), 1u) << value;
      ASSERT_FALSE(is_utf8(cut)) << value;
    }
    ASSERT_EQ(length_in_whole_characters("a" + text), 1 + text.size()) << value;
  }
}

// Whether `text` is the encoding of one scalar value: decoding and encoding it gives `text` again.
bool is_character(const std::string& text) {
  if (text.empty() || text.size() > 4) return false;
  constexpr std::array<uint32_t, 5> kPayloadOfFirst = {0, 0x7F, 0x1F, 0x0F, 0x07};
  uint32_t value = static_cast<unsigned char>(text[0]) & kPayloadOfFirst[text.size()];
  for (size_t i = 1; i < text.size(); ++i) value = value << 6 | (static_cast<unsigned char>(text[i]) & 63);
  return value < 0x110000 && !(value >= 0xD800 && value < 0xE000) && encode(value) == text;
}

// All strings of two bytes, and all of three and four whose bytes are at the bounds of the grammar's ranges. Both
// validators must refuse those that are not a sequence of encodings.
TEST(Utf8, NothingElseIsValid) {
  const auto check = [&](const std::string& text) {
    size_t at = 0;
    while (at < text.size()) {
      size_t length = 1;
      while (length <= 4 && !(at + length <= text.size() && is_character(text.substr(at, length)))) ++length;
      if (length > 4) break;
      at += length;
    }
    ASSERT_EQ(first_invalid_utf8(text), at);
    ASSERT_EQ(is_utf8(text), at == text.size());
  };
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) check({static_cast<char>(a), static_cast<char>(b)});
  }
  constexpr std::array<int, 22> kBounds = {0x00, 0x0A, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1,
                                           0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF};
  for (const int a : kBounds) {
    for (const int b : kBounds) {
      for (const int c : kBounds) {
        check({static_cast<char>(a), static_cast<char>(b), static_cast<char>(c)});
        for (const int d : {0x00, 0x7F, 0x80, 0x8F, 0x90, 0xBF, 0xC2, 0xFF}) {
          check({static_cast<char>(a), static_cast<char>(b), static_cast<char>(c), static_cast<char>(d)});
        }
      }
    }
  }
}

// Proper beginnings of the encodings of all scalar values.
std::set<std::string> beginnings() {
  std::set<std::string> out;
  for (uint32_t value = 0x80; value < 0x110000; ++value) {
    if (value >= 0xD800 && value < 0xE000) continue;
    const std::string text = encode(value);
    for (size_t length = 1; length < text.size(); ++length) out.insert(text.substr(0, length));
  }
  return out;
}

std::string replaced(const std::string& text, const std::set<std::string>& beginnings) {
  std::string out;
  for (size_t at = 0, length = 0; at < text.size(); at += length) {
    for (length = 4; length > 1; --length)
      if (at + length <= text.size() && is_character(text.substr(at, length))) break;
    if (is_character(text.substr(at, length))) {
      out += text.substr(at, length);
      continue;
    }
    while (at + length < text.size() && beginnings.contains(text.substr(at, length + 1))) ++length;
    out += "\uFFFD";
  }
  return out;
}

TEST(Utf8, EachLongestBeginningOfACharacterIsReplaced) {
  EXPECT_EQ(replace_invalid_utf8("a\xF0\x9F\x99z\xE2\x82"), "a\uFFFDz\uFFFD");
  EXPECT_EQ(replace_invalid_utf8("\xC0\x80\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD");
  const std::set<std::string> known = beginnings();
  constexpr std::array<int, 22> kBounds = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1,
                                           0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF};
  const size_t bounds = kBounds.size();
  for (size_t length = 0; length <= 4; ++length) {
    const auto count = static_cast<size_t>(std::pow(bounds, length));
    for (size_t number = 0; number < count; ++number) {
      std::string text;
      for (size_t rest = number; text.size() < length; rest /= bounds)
        text += static_cast<char>(kBounds[rest % bounds]);
      ASSERT_EQ(replace_invalid_utf8(text), replaced(text, known)) << number << " of length " << length;
    }
  }
}

TEST(Utf8, InvalidEndsAreNotTakenForCutCharacters) {
  EXPECT_EQ(length_in_whole_characters(""), 0u);
  EXPECT_EQ(length_in_whole_characters("\x80"), 1u);
  EXPECT_EQ(length_in_whole_characters("\x80\x80\x80\x80"), 4u);
  EXPECT_EQ(length_in_whole_characters("a\xFF"), 2u);
  EXPECT_EQ(length_in_whole_characters("\xF0\x9F\x99"), 0u);
}

}  // namespace
}  // namespace ropewalk

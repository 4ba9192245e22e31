#include "trainer/tokenizer/regex.h"

#include "tests/support/expect_error.h"
#include "tests/trainer/tokenizer/cut_texts.h"
#include "trainer/tokenizer/regex_syntax.h"

namespace ropewalk {
namespace {

Pieces matches(std::string_view pattern, std::string_view text) {
  const auto regex = make_regex(pattern);
  const auto finder = regex->make_finder();
  Pieces found;
  for (size_t at = 0; at < text.size();) {
    const auto [begin, end] = finder->find(text, at, true);
    if (end > begin) found.emplace_back(text.substr(begin, end - begin));
    at = end;
  }
  return found;
}

// What Hugging Face's tokenizers 0.23.3 (Oniguruma) finds.
TEST(Regex, MeansWhatOnigurumaMeans) {
  EXPECT_EQ(matches(R"(\s+)", "a\u180E b\u0085\u3000"), (Pieces{" ", "\u0085\u3000"}));
  EXPECT_EQ(matches(R"([\s]+|[^\S\n])", "a\u180E \u2028"), (Pieces{" \u2028"}));
  EXPECT_EQ(matches(R"([\S]+)", "a\u180E b"), (Pieces{"a\u180E", "b"}));
  EXPECT_EQ(matches(R"([\s\S])", "a \u180E"), (Pieces{"a", " ", "\u180E"}));
  EXPECT_EQ(matches(R"(.+)", "ab\ncd\rx\u2028y"), (Pieces{"ab", "cd\rx\u2028y"}));
  EXPECT_EQ(matches(R"(a$)", "a\na a\n"), (Pieces{"a", "a"}));
  EXPECT_EQ(matches(R"(\v)", "\n\x0B\x0C"), (Pieces{"\x0B"}));
  EXPECT_EQ(matches(R"((?i:'s|'d))", "'S'\u017F'D"), (Pieces{"'S", "'\u017F", "'D"}));
  EXPECT_EQ(matches(R"(\p{Katakana})", "\u30A2\u30FC\u3042"), (Pieces{"\u30A2"}));  // without script extensions
  EXPECT_EQ(matches(R"(\u00e9|\x{1F642}|\d)", "e\u00E9\U0001F642\u0661"), (Pieces{"\u00E9", "\U0001F642", "\u0661"}));
  EXPECT_EQ(matches(R"(a++b|a)", "aaab"), (Pieces{"aaab"}));
}

TEST(Regex, WhatIsNotSupportedIsRefusedWithItsPlace) {
  const std::vector<std::pair<std::string, std::string>> refused = {
      {R"(a\b)", "'\\b' at byte 1"},        {R"(\w+)", "'\\w' at byte 0"},       {R"(x\h)", "'\\h' at byte 1"},
      {R"(^a)", "'^' at byte 0"},           {R"(a\Z)", "'\\Z' at byte 1"},       {R"(\Aa)", "'\\A' at byte 0"},
      {R"(\Ga)", "'\\G' at byte 0"},        {R"((?<=a)b)", "'(?<=' at byte 0"},  {R"((?<!a)b)", "'(?<!' at byte 0"},
      {R"((?i)a)", "'(?i)' at byte 0"},     {R"((a)\1)", "'\\1' at byte 3"},     {R"(a{1,3}+)", "'+' at byte 6"},
      {R"(a{,3})", "'{' at byte 1"},        {R"(a{2}?)", "'{2}?' at byte 1"},    {R"(a**)", "'*' at byte 2"},
      {R"([a[b]])", "'[' at byte 2"},       {R"([a&&b])", "'&&' at byte 2"},     {R"([]a])", "']' at byte 1"},
      {R"([+-\s])", "'\\s' at byte 3"},     {R"([\p{L}-z])", "'\\p' at byte 1"}, {R"(\p{Alphabetic})", "at byte 0"},
      {R"(\p{^L})", "'\\p{^L}' at byte 0"}, {R"(\pL)", "'\\p' at byte 0"},       {R"(\xe9)", "'\\x' at byte 0"},
      {R"((?i:mass))", "'ss' at byte 6"},   {"(?i:\u00E9)", "at byte 4"},        {R"((*UTF)a)", "'(*' at byte 0"},
      {R"(a\)", "'\\' at byte 1"},          {R"([ab)", "a [ without ]"},         {R"((a)", "is not valid"},
      {R"(a*)", "can match an empty text"}, {R"(a|)", "can match an empty text"}};
  for (const auto& [pattern, message] : refused)
    expect_error<DataError>([&pattern = pattern] { make_regex(pattern); }, {message, pattern});
}

TEST(Regex, AMatchThatTakesTooLongIsAnError) {
  const auto regex = make_regex("(?:a|aa)+[bc]");
  const auto finder = regex->make_finder();
  expect_error<DataError>([&] { finder->find(std::string(100, 'a'), 0, true); }, {"(?:a|aa)+[bc]", "match limit"});
  EXPECT_EQ(finder->find("aab", 0, true).end, 3u);  // and the finder goes on
}

TEST(Regex, AMatchIsFoundOnlyWhenNoContinuationCanChangeIt) {
  const auto regex = make_regex(R"(ab|abc+|x$|\s+(?!\S))");
  const auto finder = regex->make_finder();
  const auto found = [&](std::string_view text) {
    const auto [begin, end] = finder->find(text, 0, false);
    return std::pair(begin, end);
  };
  EXPECT_EQ(found("..ab"), std::pair(size_t{2}, size_t{4}));
  EXPECT_EQ(found("..a"), std::pair(size_t{2}, size_t{2}));
  EXPECT_EQ(found("..x"), std::pair(size_t{2}, size_t{2}));
  EXPECT_EQ(found("..x\n"), std::pair(size_t{2}, size_t{3}));
  EXPECT_EQ(found(".  "), std::pair(size_t{1}, size_t{1}));
  EXPECT_EQ(found(".."), std::pair(size_t{2}, size_t{2}));
}

TEST(Regex, TellsItsUnicodeVersion) { EXPECT_GE(std::stoi(other_patterns_unicode_version()), 14); }

}  // namespace
}  // namespace ropewalk

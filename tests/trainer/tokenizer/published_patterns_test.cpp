#include "trainer/tokenizer/published_patterns.h"

#include <gtest/gtest.h>

#include "tests/trainer/tokenizer/cut_texts.h"
#include "trainer/files/crc32c.h"
#include "trainer/tokenizer/character_classes.h"
#include "trainer/tokenizer/regex.h"

namespace ropewalk {
namespace {

std::unique_ptr<PreTokenizer> published(std::string_view pattern) {
  return make_pre_tokenizer({{.kind = PreTokenizerStep::Kind::kRegex, .pattern = std::string(pattern)}});
}

size_t count_of(uint8_t mask) {
  size_t count = 0;
  for (uint32_t c = 0; c < 0x110000; ++c) count += (CharacterClasses::get().of(c) & mask) != 0;
  return count;
}

// The counts of \p{L}, \p{N}, \s and so on that Hugging Face's tokenizers 0.23.3 has (Unicode 14 has 131,756 letters).
TEST(CharacterClasses, AreThoseOfHuggingFace) {
  EXPECT_EQ(count_of(kLetter), 141'028u);
  EXPECT_EQ(count_of(kNumber), 1'911u);
  EXPECT_EQ(count_of(kNumeric), 1'924u);
  EXPECT_EQ(count_of(kSpace), 25u);
  EXPECT_EQ(count_of(kOther), 0x110000u - 141'028 - 1'911 - 25);
  EXPECT_EQ(count_of(kUpper), 1'858u + 31 + 404 + 136'477 + 2'501);  // Lu, Lt, Lm, Lo, M
  EXPECT_EQ(count_of(kLower), 2'258u + 404 + 136'477 + 2'501);       // Ll, Lm, Lo, M
  std::string all;
  for (uint32_t c = 0; c < 0x110000; ++c) all += static_cast<char>(CharacterClasses::get().of(c));
  EXPECT_EQ(crc32c(all), 0xA63D56FCu);  // of Hugging Face's own answers
}

TEST(CharacterClasses, ReadsCharactersOfEveryLength) {
  const auto at = [](const char* text) { return CharacterClasses::get().at(text); };
  EXPECT_EQ(at("a").classes, kLetter | kLower);
  EXPECT_EQ(at("\u00C9").classes, kLetter | kUpper);
  EXPECT_EQ(at("\u00C9").bytes, 2);
  EXPECT_EQ(at("\u3000").classes, kSpace);
  EXPECT_EQ(at("\u3000").bytes, 3);
  EXPECT_EQ(at("\U00011DE0").classes, kOther | kNumeric);  // a digit since Unicode 17
  EXPECT_EQ(at("\U00011DE0").bytes, 4);
  EXPECT_EQ(at("\U0010FFFF").classes, kOther);
}

// PCRE2 judges the scanners, on characters whose classes have not changed since its Unicode version.
TEST(PublishedPatterns, SplitAsPcre2Does) {
  const RandomStream random(3, "texts");
  for (size_t p = 0; p < std::size(kPublishedPatterns); ++p) {
    const auto scanner = published(kPublishedPatterns[p]);
    const auto regex = make_regex(kPublishedPatterns[p]);
    const auto finder = regex->make_finder();
    for (uint64_t round = 0; round < 20'000; ++round) {
      const std::string text = tricky_text(random, 100 * (p * 20'000 + round), round % 30);
      Pieces expected;
      for (size_t at = 0; at < text.size();) {
        const auto [begin, end] = finder->find(text, at, true);
        ASSERT_EQ(begin, at) << text;  // no gaps
        expected.push_back(text.substr(begin, end - begin));
        at = end;
      }
      ASSERT_EQ(split_whole(*scanner, text), expected) << kPublishedPatterns[p] << " on " << text;
    }
  }
}

TEST(PublishedPatterns, CutsChangeNothing) {
  const RandomStream random(4, "texts");
  for (const std::string_view pattern : kPublishedPatterns) {
    const auto scanner = published(pattern);
    for (uint64_t round = 0; round < 1'000; ++round)
      expect_cuts_to_change_nothing(*scanner, tricky_text(random, 100 * round, round % 30));
  }
}

// What follows is what Hugging Face's tokenizers 0.23.3 returns, also where PCRE2 does not.
TEST(PublishedPatterns, TrapsOfHuggingFace) {
  const auto gpt2 = published(kGpt2Pattern), llama3 = published(kLlama3Pattern), qwen2 = published(kQwen2Pattern);
  EXPECT_EQ(split_whole(*gpt2, "I'll I'LL  x "), (Pieces{"I", "'ll", " I", "'", "LL", " ", " x", " "}));
  EXPECT_EQ(split_whole(*llama3, "I'LL a'\u017F b'\u212A"), (Pieces{"I", "'LL", " a", "'\u017F", " b", "'\u212A"}));
  EXPECT_EQ(split_whole(*llama3, "a \u180E1234"), (Pieces{"a", " \u180E", "123", "4"}));  // no white space
  EXPECT_EQ(split_whole(*qwen2, "12 \r\n \n  x"), (Pieces{"1", "2", " \r\n \n", " ", " x"}));
  EXPECT_EQ(split_whole(*gpt2, "a\u0085\u2028b"), (Pieces{"a", "\u0085", "\u2028", "b"}));
  EXPECT_EQ(split_whole(*gpt2, "a\U0002EBF0\U000105C0"), (Pieces{"a\U0002EBF0\U000105C0"}));  // Unicode 15.1 and 16
  EXPECT_EQ(split_whole(*gpt2, "a\u0378.\U00011DE0"), (Pieces{"a", "\u0378.\U00011DE0"}));    // unassigned, Unicode 17
  EXPECT_EQ(split_whole(*published(kO200kPattern), "HTTPServer's \u0300."), (Pieces{"HTTPServer's", " \u0300", "."}));
}

TEST(PublishedPatterns, AreRecognizedByTheirExactText) {
  EXPECT_TRUE(is_published_pattern(kGpt2Pattern));
  EXPECT_FALSE(is_published_pattern(std::string(kGpt2Pattern) + "|x"));
  EXPECT_EQ(make_scanner(kGpt2Pattern.substr(1)), nullptr);
}

// Pre-tokens are given out as soon as nothing can change them.
TEST(PublishedPatterns, HoldNothingBackThatIsCertain) {
  const auto covered = [](std::string_view pattern, std::string_view text) {
    PreTokens out;
    return published(pattern)->make_splitter()->split(text, {.begins = true, .ends = false}, out);
  };
  EXPECT_EQ(covered(kGpt2Pattern, "one two"), 3u);
  EXPECT_EQ(covered(kGpt2Pattern, "one  "), 3u);
  EXPECT_EQ(covered(kGpt2Pattern, "it's"), 4u);
  EXPECT_EQ(covered(kLlama3Pattern, "1234567"), 6u);
  EXPECT_EQ(covered(kQwen2Pattern, "1234567"), 7u);
  EXPECT_EQ(covered(kLlama3Pattern, "it'"), 2u);
}

}  // namespace
}  // namespace ropewalk

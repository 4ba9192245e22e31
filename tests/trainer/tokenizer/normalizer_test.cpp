#include "kernels/clock.h"
#include "tests/support/expect_error.h"
#include "tests/trainer/tokenizer/cut_texts.h"

namespace ropewalk {
namespace {

using Kind = NormalizerStep::Kind;
using Steps = std::vector<NormalizerStep>;

std::string normalized(const Normalizer& normalizer, std::string_view text, std::vector<size_t> cuts = {}) {
  const auto stream = normalizer.make_stream();
  std::string out;
  size_t begin = 0;
  cuts.push_back(text.size());
  for (size_t i = 0; i < cuts.size(); ++i) {
    stream->append(text.substr(begin, cuts[i] - begin), {.begins = i == 0, .ends = i + 1 == cuts.size()}, out);
    begin = cuts[i];
  }
  return out;
}
std::string normalized(const Steps& steps, std::string_view text) { return normalized(*make_normalizer(steps), text); }

NormalizerStep form(Kind kind) { return {kind, "", ""}; }

TEST(Normalizer, Forms) {
  EXPECT_EQ(normalized({form(Kind::kNfc)}, "e\u0301 \uFB01"), "\u00E9 \uFB01");
  EXPECT_EQ(normalized({form(Kind::kNfd)}, "\u00E9 \uFB01"), "e\u0301 \uFB01");
  EXPECT_EQ(normalized({form(Kind::kNfkc)}, "e\u0301 \uFB01"), "\u00E9 fi");
  EXPECT_EQ(normalized({form(Kind::kNfkd)}, "\u00E9 \uFB01"), "e\u0301 fi");
  EXPECT_EQ(normalized({form(Kind::kNfc)}, "a\u0315\u0334"), "a\u0334\u0315");  // marks in canonical order
  EXPECT_EQ(normalized({form(Kind::kNfc)}, "\u1112\u1161\u11AB"), "\uD55C");
}

// Characters that Unicode got after 9.0, which Hugging Face's tokenizers 0.23.3 does not change.
TEST(Normalizer, KnowsUnicode9) {
  EXPECT_EQ(normalized({form(Kind::kNfkc)}, "\u32FF"), "\u32FF");               // 12.1: the era Reiwa
  EXPECT_EQ(normalized({form(Kind::kNfd)}, "\U00011938"), "\U00011938");        // 13
  EXPECT_EQ(normalized({form(Kind::kNfc)}, "a\u0315\u08D3"), "a\u0315\u08D3");  // 11: a mark, of another order
  EXPECT_EQ(normalized({form(Kind::kNfc)}, "a\u0315\u08D4"), "a\u08D4\u0315");  // 9: of order 230 < 232
}

TEST(Normalizer, PrependAndReplace) {
  EXPECT_EQ(normalized({{Kind::kPrepend, "_", ""}}, "a"), "_a");
  EXPECT_EQ(normalized({{Kind::kPrepend, "_", ""}}, ""), "");
  EXPECT_EQ(normalized({{Kind::kReplace, "aa", "a"}}, "aaaaa"), "aaa");  // what was replaced is not looked at again
  EXPECT_EQ(normalized({{Kind::kReplace, "x", "e"}, form(Kind::kNfc)}, "x\u0301"), "\u00E9");
  EXPECT_EQ(normalized({form(Kind::kNfd), {Kind::kReplace, "e", ""}}, "\u00E9a"), "\u0301a");
  expect_error<DataError>([] { make_normalizer({{Kind::kReplace, "", "a"}}); }, {"empty text"});
}

TEST(Normalizer, CutsChangeNothing) {
  const std::vector<Steps> all = {
      {},
      {form(Kind::kNfc)},
      {form(Kind::kNfd)},
      {form(Kind::kNfkc)},
      {form(Kind::kNfkd)},
      {{Kind::kPrepend, "e", ""}, form(Kind::kNfc)},
      {{Kind::kReplace, "aab", "e\u0301"}, form(Kind::kNfc), {Kind::kReplace, "\u00E9", "x"}},
      {form(Kind::kNfd), {Kind::kReplace, "\u0301\u0300", "ab"}, form(Kind::kNfkc)}};
  const RandomStream random(7, "texts");
  for (const Steps& steps : all) {
    const auto normalizer = make_normalizer(steps);
    for (uint64_t round = 0; round < 500; ++round) {
      const std::string text = tricky_text(random, 100 * round, round % 30);
      const std::string whole = normalized(*normalizer, text);
      const std::vector<size_t> ends = character_ends(text);
      for (const size_t cut : ends) ASSERT_EQ(normalized(*normalizer, text, {cut}), whole) << text << " cut at " << cut;
      ASSERT_EQ(normalized(*normalizer, text, ends), whole) << text << " in single characters";
    }
  }
}

// The form of `base` and `pairs` times two marks out of order: ICU alone sorts them in a time of n^2.
TEST(Normalizer, AMillionMarksAreSortedInTime) {
  const auto normalizer = make_normalizer({form(Kind::kNfc)});
  const auto text_of = [](size_t pairs) {
    std::string text = "e";
    for (size_t i = 0; i < pairs; ++i) text += "\u0315\u0334";  // classes 232 and 1
    return text + "\u0301x";                                    // class 230: composes with the e
  };
  const auto expected = [](size_t pairs) {
    std::string text = "\u00E9";
    for (size_t i = 0; i < pairs; ++i) text += "\u0334";
    for (size_t i = 0; i < pairs; ++i) text += "\u0315";
    return text + "x";
  };
  for (const size_t pairs : {1, 500, 1'000, 1'500, 2'500, 500'000}) {
    const std::string text = text_of(pairs);
    ASSERT_TRUE(normalized(*normalizer, text) == expected(pairs)) << pairs;
    ASSERT_TRUE(normalized(*normalizer, text, {1, text.size() / 4 * 2 + 1}) == expected(pairs)) << pairs;
  }
}

TEST(Normalizer, LongRunsOfMarksAreDecomposedInOrder) {
  std::string text = "\u00E9";
  std::string expected = "e";
  for (int i = 0; i < 5'000; ++i) text += "\u0315\u0F73";  // the second is two marks, of classes 129 and 130
  for (int i = 0; i < 5'000; ++i) expected += "\u0F71";
  for (int i = 0; i < 5'000; ++i) expected += "\u0F72";
  expected += "\u0301";
  for (int i = 0; i < 5'000; ++i) expected += "\u0315";
  EXPECT_TRUE(normalized({form(Kind::kNfd)}, text) == expected);
}

// A stream that sees a long run in small parts does not search it again for each.
TEST(Normalizer, SmallPartsTakeLinearTime) {
  const auto normalizer = make_normalizer({form(Kind::kNfc)});
  const auto seconds = [&](size_t marks) {
    std::string text = "e";
    for (size_t i = 0; i < marks; ++i) text += "\u0315";
    const double began = thread_cpu_seconds();
    normalized(*normalizer, text, character_ends(text));
    return thread_cpu_seconds() - began;
  };
  seconds(1'000);
  const double small = seconds(50'000), large = seconds(400'000);
  EXPECT_LT(large, 8 * 4 * small);  // 8 times the work, with a factor of 4 for a busy machine; squared it is 64 times
}

}  // namespace
}  // namespace ropewalk

#include "trainer/tokenizer/pre_tokenizer.h"

#include "tests/support/expect_error.h"
#include "tests/trainer/tokenizer/cut_texts.h"
#include "trainer/tokenizer/published_patterns.h"

namespace ropewalk {
namespace {

using Kind = PreTokenizerStep::Kind;
using Behavior = PreTokenizerStep::Behavior;
using Steps = std::vector<PreTokenizerStep>;

PreTokenizerStep split_by(Kind kind, std::string_view pattern, Behavior behavior = Behavior::kIsolated,
                          bool invert = false) {
  return {.kind = kind, .pattern = std::string(pattern), .behavior = behavior, .invert = invert};
}
PreTokenizerStep digits(bool individual) {
  return {.kind = Kind::kDigits, .pattern = "", .individual_digits = individual};
}
PreTokenizerStep byte_level(bool use_regex, bool prefix) {
  return {.kind = Kind::kByteLevel, .pattern = "", .use_regex = use_regex, .add_prefix_space = prefix};
}
Pieces split_text(const Steps& steps, std::string_view text) { return split_whole(*make_pre_tokenizer(steps), text); }

// Hugging Face's Split("-") of "-a--b", from its documentation's example of each behavior, and inverted.
TEST(PreTokenizer, Behaviors) {
  struct Expected {
    Behavior behavior;
    Pieces plain, inverted;
  };
  const std::vector<Expected> table = {{Behavior::kIsolated, {"-", "a", "-", "-", "b"}, {"-", "a", "-", "-", "b"}},
                                       {Behavior::kRemoved, {"a", "b"}, {"-", "-", "-"}},
                                       {Behavior::kMergedWithPrevious, {"-", "a-", "-", "b"}, {"-a", "-", "-b"}},
                                       {Behavior::kMergedWithNext, {"-a", "-", "-b"}, {"-", "a-", "-", "b"}},
                                       {Behavior::kContiguous, {"-", "a", "--", "b"}, {"-", "a", "--", "b"}}};
  for (const auto& [behavior, plain, inverted] : table) {
    for (const Kind kind : {Kind::kLiteral, Kind::kRegex}) {
      EXPECT_EQ(split_text({split_by(kind, "-", behavior, false)}, "-a--b"), plain);
      EXPECT_EQ(split_text({split_by(kind, "-", behavior, true)}, "-a--b"), inverted);
    }
  }
}

TEST(PreTokenizer, Digits) {
  EXPECT_EQ(split_text({digits(true)}, "a12\u00BDb"), (Pieces{"a", "1", "2", "\u00BD", "b"}));
  EXPECT_EQ(split_text({digits(false)}, "a12\u00BDb"), (Pieces{"a", "12\u00BD", "b"}));
  EXPECT_EQ(split_text({digits(true)}, "\U00011DE0a"), (Pieces{"\U00011DE0", "a"}));  // a digit since Unicode 17
  // Command R: white space before a digit ends its piece, so it stays together.
  EXPECT_EQ(split_text({digits(true), byte_level(true, false)}, "ab  12  c"),
            (Pieces{"ab", "  ", "1", "2", " ", " c"}));
}

TEST(PreTokenizer, EveryDigitIsFoundAtEveryPlace) {
  for (const char* digit : {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "\u00B2", "\u0661", "\U00011DE0"}) {
    for (size_t before = 1; before < 20; ++before) {
      const std::string left = std::string(before - 1, '/') + "\x7F", right = "\u00E9" + std::string(20 - before, ':');
      EXPECT_EQ(split_text({digits(true)}, left + digit + right), (Pieces{left, digit, right}));
    }
  }
}

TEST(PreTokenizer, ALiteralThatMayHaveBegunIsHeldBack) {
  const std::string text = "aaabaab ab aaabaaab aa";
  const Pieces expected = {"a", "aab", "aab", " ab a", "aab", "a", "aab", " aa"};
  const auto pre_tokenizer = make_pre_tokenizer({split_by(Kind::kLiteral, "aab"), byte_level(false, false)});
  EXPECT_EQ(split_whole(*pre_tokenizer, text), expected);
  expect_cuts_to_change_nothing(*pre_tokenizer, text);
  const auto words = make_pre_tokenizer({split_by(Kind::kLiteral, "aab"), byte_level(true, false)});
  expect_cuts_to_change_nothing(*words, text);
}

TEST(PreTokenizer, PrefixSpace) {
  EXPECT_EQ(split_text({byte_level(true, true)}, "ab c"), (Pieces{" ab", " c"}));
  EXPECT_EQ(split_text({byte_level(true, true)}, " ab"), (Pieces{" ab"}));
  EXPECT_EQ(split_text({byte_level(true, true)}, "\nab"), (Pieces{" ", "\n", "ab"}));
  EXPECT_EQ(split_text({byte_level(true, true)}, "\n\nab"), (Pieces{" \n", "\n", "ab"}));
  EXPECT_EQ(split_text({byte_level(true, true)}, "'s"), (Pieces{" '", "s"}));
  EXPECT_EQ(split_text({byte_level(false, true)}, "ab c"), (Pieces{" ab c"}));
  EXPECT_EQ(split_text({digits(true), byte_level(true, true)}, "ab1 c"), (Pieces{" ab", " 1", " c"}));
  EXPECT_EQ(split_text({byte_level(true, true)}, ""), Pieces{});
  const std::string word(100'000, 'a');
  EXPECT_EQ(split_text({byte_level(true, true)}, word), Pieces{" " + word});
}

TEST(PreTokenizer, WithoutStepsATextIsOnePiece) {
  EXPECT_EQ(split_text({}, "ab c"), Pieces{"ab c"});
  EXPECT_EQ(split_text({byte_level(false, false)}, "ab c"), Pieces{"ab c"});
  EXPECT_EQ(split_text({}, ""), Pieces{});
}

// Sequences in which a piece of one step is open while the next step has given out a part of it.
TEST(PreTokenizer, CutsChangeNothing) {
  std::vector<Steps> all = {{}};
  for (const bool prefix : {false, true}) {
    for (const bool individual : {false, true}) all.push_back({digits(individual), byte_level(true, prefix)});
    all.push_back({byte_level(true, prefix)});
    all.push_back({byte_level(false, prefix)});
    all.push_back({split_by(Kind::kRegex, kLlama3Pattern, Behavior::kContiguous), byte_level(true, prefix)});
    all.push_back({split_by(Kind::kLiteral, "e", Behavior::kMergedWithNext), byte_level(true, prefix)});
  }
  const std::pair<Kind, std::string> patterns[] = {
      {Kind::kLiteral, "aab"},        {Kind::kLiteral, " "},
      {Kind::kRegex, R"(\s+$)"},      {Kind::kRegex, R"(\p{N}{1,3}|'s|[\r\n]+)"},
      {Kind::kRegex, R"(\s?\p{L}+)"}, {Kind::kRegex, std::string(kO200kPattern)}};
  for (const auto& [kind, pattern] : patterns) {
    for (const Behavior behavior : {Behavior::kIsolated, Behavior::kRemoved, Behavior::kMergedWithPrevious,
                                    Behavior::kMergedWithNext, Behavior::kContiguous}) {
      for (const bool invert : {false, true}) {
        all.push_back({split_by(kind, pattern, behavior, invert)});
        all.push_back({split_by(kind, pattern, behavior, invert), digits(false), byte_level(true, true)});
      }
    }
  }
  const RandomStream random(6, "texts");
  for (size_t i = 0; i < all.size(); ++i) {
    const auto pre_tokenizer = make_pre_tokenizer(all[i]);
    for (uint64_t round = 0; round < 60; ++round)
      expect_cuts_to_change_nothing(*pre_tokenizer, tricky_text(random, 100 * (60 * i + round), round % 30));
  }
}

// A document without digits is one piece of Digits; its words must not wait for its end.
TEST(PreTokenizer, AnOpenPieceIsGivenOutInParts) {
  const auto splitter = make_pre_tokenizer({digits(true), byte_level(true, true)})->make_splitter();
  PreTokens out;
  EXPECT_EQ(splitter->split("one two three", {.begins = true, .ends = false}, out), 7u);
  EXPECT_EQ(out.pieces, (std::vector<std::string_view>{" one", " two"}));
}

TEST(PreTokenizer, StepsThatAreNotSupported) {
  expect_error<DataError>([] { make_pre_tokenizer({byte_level(true, false), digits(true)}); }, {"follows ByteLevel"});
  expect_error<DataError>([] { make_pre_tokenizer({split_by(Kind::kLiteral, "")}); }, {"empty pattern"});
  expect_error<DataError>([] { make_pre_tokenizer({split_by(Kind::kRegex, "")}); }, {"empty pattern"});
}

}  // namespace
}  // namespace ropewalk

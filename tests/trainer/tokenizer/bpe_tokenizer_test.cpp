// The whole of a tokenizer: added tokens, how a text is cut, AddedTokens::kAsText, bad text, decoding, and time.
// hugging_face_test.cpp compares it with ids of Hugging Face's tokenizers.
#include <algorithm>

#include "tests/support/expect_error.h"
#include "tests/trainer/tokenizer/small_tokenizer.h"

namespace ropewalk {
namespace {

using Ids = std::vector<int32_t>;
constexpr int32_t kSpecial = 260, kPlain = 261;  // <s> and [X]

// A part of a text, and whether it may become special tokens.
struct Part {
  std::string text;
  AddedTokens added = AddedTokens::kRecognize;
};

Ids encode(Encoder& encoder, const std::vector<Part>& parts) {
  Ids ids;
  for (const Part& part : parts) encoder.append(part.text, part.added, ids);
  encoder.finish(ids);
  return ids;
}

// With one flag of the token [X] set.
Json with_flag(const char* flag) {
  Json file = small_tokenizer();
  file["added_tokens"][1][flag] = true;
  return file;
}

TEST(BpeTokenizer, MergesAndAddedTokens) {
  const auto tokenizer = tokenizer_of(small_tokenizer());
  EXPECT_EQ(tokenizer->encode("the the th  x"), (Ids{257, 258, ' ', 256, ' ', ' ', 'x'}));
  EXPECT_EQ(tokenizer->encode("a<s>[X]b"), (Ids{'a', kSpecial, kPlain, 'b'}));
  EXPECT_EQ(tokenizer->encode(""), Ids{});
  EXPECT_EQ(tokenizer->vocabulary_size(), 262);
  EXPECT_EQ(tokenizer->added_token("[X]"), kPlain);
  EXPECT_EQ(tokenizer->added_token("the"), std::nullopt);
}

TEST(BpeTokenizer, FlagsOfAddedTokens) {
  EXPECT_EQ(tokenizer_of(with_flag("lstrip"))->encode("a \t[X] b"), (Ids{'a', kPlain, ' ', 'b'}));
  EXPECT_EQ(tokenizer_of(with_flag("rstrip"))->encode("a [X]\n\u3000b"), (Ids{'a', ' ', kPlain, 'b'}));
  const auto word = tokenizer_of(with_flag("single_word"));
  EXPECT_EQ(word->encode("[X] [X]a b[X]"), (Ids{kPlain, ' ', '[', 'X', ']', 'a', ' ', 'b', '[', 'X', ']'}));
  Json file = with_flag("normalized");
  file["normalizer"] = {{"type", "NFKC"}};
  EXPECT_EQ(tokenizer_of(file)->encode("\uFF3BX\uFF3D"), Ids{kPlain});  // full-width brackets
  EXPECT_EQ(tokenizer_of(file)->encode("<s>"), Ids{kSpecial});
}

TEST(BpeTokenizer, ALongerTokenComesFirst) {
  Json file = small_tokenizer();
  file["added_tokens"].push_back(file["added_tokens"][0]);
  file["added_tokens"][2]["content"] = "<s><s>";
  file["added_tokens"][2]["id"] = 262;
  EXPECT_EQ(tokenizer_of(file)->encode("<s><s><s>"), (Ids{262, kSpecial}));
}

// A special token needs all its bytes in parts that may become one; other added tokens do not depend on it.
TEST(BpeTokenizer, TextThatMayNotBecomeSpecialTokens) {
  const auto tokenizer = tokenizer_of(small_tokenizer());
  const auto encoder = tokenizer->make_encoder();
  const Ids spelled = {'<', 's', '>'};
  EXPECT_EQ(tokenizer->encode("<s>", AddedTokens::kAsText), spelled);
  EXPECT_EQ(tokenizer->encode("[X]", AddedTokens::kAsText), Ids{kPlain});
  EXPECT_EQ(encode(*encoder, {{"<s"}, {">", AddedTokens::kAsText}}), spelled);
  EXPECT_EQ(encode(*encoder, {{"<", AddedTokens::kAsText}, {"s>"}}), spelled);
  EXPECT_EQ(encode(*encoder, {{"<s"}, {"", AddedTokens::kAsText}, {">"}}), Ids{kSpecial});
  EXPECT_EQ(encode(*encoder, {{"<s>"}, {"<s>", AddedTokens::kAsText}, {"<s>"}}),
            (Ids{kSpecial, '<', 's', '>', kSpecial}));
  EXPECT_EQ(encode(*encoder, {{"<s>"}}), Ids{kSpecial});  // no state from the text before
}

TEST(BpeTokenizer, ACharacterMayLieInPartsOfBothKinds) {
  const auto tokenizer = tokenizer_of(small_tokenizer());
  const auto one = tokenizer->make_encoder();
  EXPECT_EQ(encode(*one, {{"\xC3"}, {"\xA9", AddedTokens::kAsText}, {"<s>"}}), (Ids{0xC3, 0xA9, kSpecial}));
  Json file = small_tokenizer();
  file["added_tokens"][0]["content"] = "\u6F22";
  const auto special = tokenizer_of(file);
  const auto other = special->make_encoder();
  EXPECT_EQ(encode(*other, {{"\xE6\xBC"}, {"\xA2"}}), Ids{kSpecial});
  EXPECT_EQ(encode(*other, {{"\xE6\xBC"}, {"\xA2", AddedTokens::kAsText}}), (Ids{0xE6, 0xBC, 0xA2}));
  EXPECT_EQ(encode(*other, {{"\xE6", AddedTokens::kAsText}, {"\xBC\xA2"}}), (Ids{0xE6, 0xBC, 0xA2}));
}

// Every flag, with texts whose ids depend on what comes later: each pair of cuts, and single bytes.
TEST(BpeTokenizer, IdsDoNotDependOnCuts) {
  const std::string texts[] = {"a [X]  [X] b", "the  [X]\u3000\n", "[X[X]]<s", "\u00e9[X]e\u0301 <s>", " \u2003[X]the"};
  for (const char* flag : {"lstrip", "rstrip", "single_word", "normalized", "special"}) {
    for (const char* form : {"", "NFC", "NFD"}) {
      Json file = with_flag(flag);
      if (*form) file["normalizer"] = {{"type", form}};
      const auto tokenizer = tokenizer_of(file);
      const auto encoder = tokenizer->make_encoder();
      for (const std::string& text : texts) {
        const Ids whole = tokenizer->encode(text);
        std::vector<Part> bytes;
        for (const char byte : text) bytes.push_back({std::string(1, byte)});
        ASSERT_EQ(encode(*encoder, bytes), whole) << flag << form << text;
        for (size_t first = 0; first <= text.size(); ++first)
          for (size_t second = first; second <= text.size(); ++second)
            ASSERT_EQ(encode(*encoder,
                             {{text.substr(0, first)}, {text.substr(first, second - first)}, {text.substr(second)}}),
                      whole)
                << flag << form << text;
      }
    }
  }
}

// Three parts, of which the middle may not become special tokens; each is given whole and in two pieces.
TEST(BpeTokenizer, IdsOfTextThatMayNotBecomeSpecialTokensDoNotDependOnCuts) {
  const std::string begin = "a <s>\u00e9<s", middle = "><s> e\u0301 <", end = "s> <s>\u0301[X]<s>";
  for (const bool normalized : {false, true}) {
    for (const char* form : {"", "NFC", "NFD"}) {
      Json file = small_tokenizer();
      file["added_tokens"][0]["normalized"] = normalized;
      if (*form) file["normalizer"] = {{"type", form}};
      const auto tokenizer = tokenizer_of(file);
      const auto encoder = tokenizer->make_encoder();
      const Ids whole = encode(*encoder, {{begin}, {middle, AddedTokens::kAsText}, {end}});
      ASSERT_EQ(std::ranges::count(whole, kPlain), 1);
      for (size_t i = 0; i <= begin.size(); ++i)
        for (size_t j = 0; j <= middle.size(); ++j)
          for (size_t k = 0; k <= end.size(); ++k)
            ASSERT_EQ(encode(*encoder, {{begin.substr(0, i)},
                                        {begin.substr(i)},
                                        {middle.substr(0, j), AddedTokens::kAsText},
                                        {middle.substr(j), AddedTokens::kAsText},
                                        {end.substr(0, k)},
                                        {end.substr(k)}}),
                      whole)
                << normalized << form << ' ' << i << ' ' << j << ' ' << k;
    }
  }
}

TEST(BpeTokenizer, InvalidUtf8IsRefused) {
  const auto tokenizer = tokenizer_of(small_tokenizer());
  for (const std::string text :
       {"\x80", "a\xC3", "\xC3(", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xC0\x80", "\xFF\xFF"}) {
    expect_error<DataError>([&] { tokenizer->encode(text); }, {"UTF-8"});
    expect_error<DataError>(
        [&] {
          std::vector<Part> bytes;
          for (const char byte : text) bytes.push_back({std::string(1, byte)});
          encode(*tokenizer->make_encoder(), bytes);
        },
        {"UTF-8"});
  }
}

TEST(BpeTokenizer, Decodes) {
  const auto tokenizer = tokenizer_of(small_tokenizer(), "<s>");
  EXPECT_EQ(tokenizer->end_of_document(), kSpecial);
  const Ids ids = {258, kSpecial, kPlain, 0xC3, 262, -1};
  EXPECT_EQ(tokenizer->decode(ids), " the[X]\xC3\uFFFD\uFFFD");
  EXPECT_EQ(tokenizer->decode(ids, Tokenizer::Special::kWrite), " the<s>[X]\xC3\uFFFD\uFFFD");
}

// Text that must be held back is not scanned again for each part. A quadratic method takes hours for these.
TEST(BpeTokenizer, LongRunsInSingleBytesTakeLinearTime) {
  constexpr size_t kLength = 1'000'000;
  for (const char* flag : {"lstrip", "rstrip", "single_word", "normalized"}) {
    const auto tokenizer = tokenizer_of(with_flag(flag));
    const auto encoder = tokenizer->make_encoder();
    for (const char* begin : {"", "[X]"}) {
      for (const char byte : {' ', 'a', '['}) {
        Ids ids;
        encoder->append(begin, AddedTokens::kRecognize, ids);
        for (size_t i = 0; i < kLength; ++i) encoder->append({&byte, 1}, AddedTokens::kRecognize, ids);
        encoder->finish(ids);
        EXPECT_EQ(ids, tokenizer->encode(begin + std::string(kLength, byte))) << flag << byte;
      }
    }
  }
}

TEST(BpeTokenizer, WhiteSpaceThatIsATokenTakesLinearTime) {
  constexpr size_t kLength = 1'000'000;
  Json file = with_flag("rstrip");
  file["added_tokens"][1]["content"] = "  ";
  const auto tokenizer = tokenizer_of(file);
  EXPECT_EQ(tokenizer->encode(std::string(kLength, ' ')), Ids(kLength / 2, kPlain));
}

}  // namespace
}  // namespace ropewalk

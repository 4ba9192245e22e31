#include "kernels/random.h"
#include "tests/support/expect_error.h"
#include "tests/trainer/tokenizer/word_tokenizer.h"
#include "trainer/tokenizer/make_tokenizer.h"

namespace ropewalk {
namespace {

TEST(ByteTokenizer, EveryByteIsItsOwnIdAndComesBack) {
  const auto tokenizer = make_tokenizer("bytes");
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text += static_cast<char>(byte);
  std::vector<int32_t> ids = {7};
  const auto encoder = tokenizer->make_encoder();
  encoder->append(text, AddedTokens::kRecognize, ids);
  encoder->finish(ids);
  ASSERT_EQ(ids.size(), 257u);
  EXPECT_EQ(ids[0], 7);  // append() keeps earlier ids
  for (int byte = 0; byte < 256; ++byte) ASSERT_EQ(ids[static_cast<size_t>(byte) + 1], byte);
  EXPECT_EQ(tokenizer->encode(text), std::vector<int32_t>(ids.begin() + 1, ids.end()));
  EXPECT_EQ(tokenizer->decode(std::span(ids).subspan(1)), text);
  EXPECT_EQ(tokenizer->vocabulary_size(), 257);
  EXPECT_EQ(tokenizer->end_of_document(), 256);
}

TEST(ByteTokenizer, IdsWithoutBytes) {
  const std::vector<int32_t> ids = {'a', 256, 'b', 257, -1, 'c'};
  EXPECT_EQ(make_tokenizer("bytes")->decode(ids),
            "ab\xEF\xBF\xBD\xEF\xBF\xBD"
            "c");
}

TEST(Tokenizer, UnknownNameIsRefusedWithTheChoices) {
  expect_error<ConfigurationError>([] { make_tokenizer("byte"); }, {"'byte'", "'bytes'"});
  expect_error<ConfigurationError>([] { make_tokenizer("words"); }, {"'words'", "'bytes'"});
  expect_error<ConfigurationError>([] { make_tokenizer(""); }, {"''", "'bytes'"});
}

int32_t word(std::string_view text) { return static_cast<int32_t>(crc32c(text) % WordEncoder::kWords); }
using Ids = std::vector<int32_t>;

// The tests' own tokenizer works as documented.
TEST(WordTokenizer, LooksAtWhatFollowsWhiteSpace) {
  const WordTokenizer tokenizer;
  EXPECT_EQ(tokenizer.encode("ab  cd"), (Ids{word("ab"), word(" "), word(" cd")}));
  EXPECT_EQ(tokenizer.encode("ab  "), (Ids{word("ab"), word("  ")}));
  EXPECT_EQ(tokenizer.encode("\n a\nb"), (Ids{word("\n"), word(" a"), word("\n"), word("b")}));
  EXPECT_EQ(tokenizer.encode("a \xE3\x80\x80\xC3\xA9"),
            (Ids{word("a"), word(" "), word("\xE3\x80\x80"), word("\xC3\xA9")}));
  EXPECT_EQ(tokenizer.encode(""), Ids{});
}

// The ids of a document that is given to an encoder in pieces of 0 to 9 bytes; random numbers from `first` on choose
// the cuts.
Ids encode_in_pieces(Encoder& encoder, std::string_view text, const RandomStream& random, uint64_t first) {
  Ids ids;
  for (uint64_t i = first; !text.empty(); ++i) {
    const size_t length = std::min<size_t>(random.bits(i)[0] % 10, text.size());
    encoder.append(text.substr(0, length), AddedTokens::kRecognize, ids);
    text.remove_prefix(length);
  }
  encoder.finish(ids);
  return ids;
}

void expect_ids_not_to_depend_on_cuts(const Tokenizer& tokenizer) {
  const RandomStream texts(5, "texts"), cuts(5, "cuts");
  const auto one = tokenizer.make_encoder(), other = tokenizer.make_encoder();  // independent of each other
  for (uint64_t round = 0; round < 2000; ++round) {
    const std::string text = text_of_words(texts, 100 * round, round % 60);
    const Ids whole = tokenizer.encode(text);
    Ids begun;
    other->append(text.substr(0, text.size() / 2), AddedTokens::kRecognize, begun);
    ASSERT_EQ(encode_in_pieces(*one, text, cuts, 1000 * round), whole) << text;
    other->append(text.substr(text.size() / 2), AddedTokens::kRecognize, begun);
    other->finish(begun);
    ASSERT_EQ(begun, whole) << text;
  }
}

TEST(Encoder, IdsDoNotDependOnHowADocumentIsCut) {
  expect_ids_not_to_depend_on_cuts(*make_tokenizer("bytes"));
  expect_ids_not_to_depend_on_cuts(WordTokenizer());
}

}  // namespace
}  // namespace ropewalk

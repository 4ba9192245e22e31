#include "trainer/tokenizer/tokenizer.h"

#include "tests/trainer/data/scratch.h"

namespace ropewalk {
namespace {

TEST(ByteTokenizer, EveryByteIsItsOwnIdAndComesBack) {
  const auto tokenizer = make_tokenizer("bytes");
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text += static_cast<char>(byte);
  std::vector<int32_t> ids = {7};
  tokenizer->encode(text, ids);
  ASSERT_EQ(ids.size(), 257u);
  EXPECT_EQ(ids[0], 7);  // what was there stays
  for (int byte = 0; byte < 256; ++byte) ASSERT_EQ(ids[static_cast<size_t>(byte) + 1], byte);
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
  expect_error<ConfigurationError>([] { make_tokenizer(""); }, {"''", "'bytes'"});
}

}  // namespace
}  // namespace ropewalk

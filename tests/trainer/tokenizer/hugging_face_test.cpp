// Ids equal those that Hugging Face's tokenizers gave (tests/tokenizers/make_fixtures.py), however a text is cut.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/temporary_directory.h"
#include "tests/trainer/tokenizer/small_tokenizer.h"

namespace ropewalk {
namespace {

const std::filesystem::path kFixtures = ROPEWALK_TOKENIZER_FIXTURES;

using Ids = std::vector<int32_t>;

Json tokenizer_file(const Json& variant, const Json& model) {
  Json file = variant["tokenizer"];
  file["model"] = model;
  file["model"]["ignore_merges"] = variant["ignore_merges"];
  if (variant["older_merges"])
    for (Json& merge : file["model"]["merges"]) merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  return file;
}

Ids encode_in_parts(Encoder& encoder, std::string_view text, size_t length) {
  Ids ids;
  for (size_t at = 0; at < text.size(); at += length)
    encoder.append(text.substr(at, length), AddedTokens::kRecognize, ids);
  encoder.finish(ids);
  return ids;
}

// Each cut into two, and parts of 1 to 7 bytes.
void expect_ids(const Tokenizer& tokenizer, Encoder& encoder, const std::string& text, const Ids& expected) {
  ASSERT_EQ(tokenizer.encode(text), expected);
  for (size_t cut = 1; cut < text.size(); ++cut) {
    Ids ids;
    encoder.append(std::string_view(text).substr(0, cut), AddedTokens::kRecognize, ids);
    encoder.append(std::string_view(text).substr(cut), AddedTokens::kRecognize, ids);
    encoder.finish(ids);
    ASSERT_EQ(ids, expected) << "cut at " << cut;
  }
  for (size_t length = 1; length <= 7; ++length)
    ASSERT_EQ(encode_in_parts(encoder, text, length), expected) << "in parts of " << length << " bytes";
}

TEST(HuggingFace, IdsAreEqualHoweverATextIsCut) {
  const Json model = Json::parse(read_file(kFixtures / "model.json"));
  std::ifstream lines(kFixtures / "variants.jsonl");
  int variants = 0;
  for (std::string line; std::getline(lines, line); ++variants) {
    const Json variant = Json::parse(line);
    SCOPED_TRACE("variant " + std::to_string(variants) + ": " + variant["tokenizer"].dump());
    const auto tokenizer = tokenizer_of(tokenizer_file(variant, model));
    const auto encoder = tokenizer->make_encoder();
    for (const Json& each : variant["cases"]) {
      SCOPED_TRACE(each[0].dump());
      expect_ids(*tokenizer, *encoder, each[0], each[1].get<Ids>());
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
  EXPECT_EQ(variants, 120);
}

}  // namespace
}  // namespace ropewalk

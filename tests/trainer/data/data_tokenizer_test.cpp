#include "trainer/data/data_tokenizer.h"

#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "trainer/data/dataset_facts.h"
#include "trainer/tokenizer/learn_merges.h"
#include "trainer/tokenizer/make_tokenizer.h"
#include "trainer/tokenizer/write_tokenizer.h"

namespace ropewalk {
namespace {

// Datasets are represented by their facts: nothing else is read.
class DataTokenizers : public ::testing::Test {
 protected:
  DataTokenizers() {
    config_.model.vocabulary = 300;
    config_.training.stages.front().prefix = prefix("a");
  }

  std::string prefix(const std::string& name) const { return folder_ / name; }

  // Writes the facts of a dataset.
  void prepared(const std::string& name, const TokenizerIdentity& tokenizer, int32_t end_of_document) const {
    write_file(prefix(name) + ".dataset.json", to_json({tokenizer, end_of_document}));
  }

  // Writes a tokenizer.json that merges `left` and `right`, without a file that says what ends a document.
  TokenizerIdentity learnt(const std::string& file, const std::string& pair) const {
    const std::vector<std::string> special = {"<end>", "<other>"};
    const LearntEncoding encoding =
        learn_merges({{pair, 1}}, {.special_tokens = special, .vocabulary = 259, .least_count = 0});
    write_file(folder_ / file,
               tokenizer_json(encoding, special, {{.kind = PreTokenizerStep::Kind::kByteLevel, .pattern = ""}}));
    return make_tokenizer(folder_ / file)->identity();
  }

  void refused(const std::vector<std::string>& words) const {
    expect_error<DataError>([&] { open_data_tokenizer(config_); }, words);
  }

  TemporaryDirectory folder_;
  Config config_;
};

TEST_F(DataTokenizers, TheDataRememberBytes) {
  prepared("a", {"bytes", "", 257}, 256);
  const DataTokenizer tokenizer = open_data_tokenizer(config_);
  EXPECT_EQ(tokenizer.made_by->identity.name, "bytes");
  EXPECT_EQ(tokenizer.made_by->end_of_document, 256);
  EXPECT_EQ(tokenizer.text->encode("ab"), (std::vector<int32_t>{'a', 'b'}));
}

// Its end of a document was chosen for the data, which no file beside them says.
TEST_F(DataTokenizers, TheDataRememberAFile) {
  const TokenizerIdentity identity = learnt("a.tokenizer.json", "th");
  prepared("a", {"another name.json", identity.hash, identity.vocabulary}, 1);
  write_file(folder_ / "tokenizer_config.json", R"({"eos_token": "of another tokenizer"})");
  const DataTokenizer tokenizer = open_data_tokenizer(config_);
  EXPECT_EQ(tokenizer.made_by->identity.name, "another name.json");
  EXPECT_EQ(tokenizer.made_by->end_of_document, 1);
  EXPECT_EQ(tokenizer.text->encode("th"), std::vector<int32_t>{258});
}

TEST_F(DataTokenizers, AnotherFileBesideTheDataIsRefused) {
  const TokenizerIdentity identity = learnt("a.tokenizer.json", "th");
  prepared("a", identity, 0);
  learnt("a.tokenizer.json", "ab");
  refused({"a.tokenizer.json have different tokenizers", identity.hash.substr(0, 8), "prepare the data again"});
  write_file(folder_ / "a.tokenizer.json", "{");
  refused({"a.tokenizer.json: "});
}

TEST_F(DataTokenizers, WithoutTheirFileDataTrainButShowNoText) {
  prepared("a", {"tokenizer.json", "0123456789", 300}, 7);
  const DataTokenizer tokenizer = open_data_tokenizer(config_);
  EXPECT_EQ(tokenizer.made_by->end_of_document, 7);
  EXPECT_FALSE(tokenizer.text);
  config_.validation.sample_tokens = 0;
  EXPECT_NO_THROW(check_shows_text(tokenizer, config_));
  config_.validation.sample_tokens = 5;
  expect_error<ConfigurationError>([&] { check_shows_text(tokenizer, config_); },
                                   {"validation.sample_tokens is 5", "data.tokenizer"});
}

TEST_F(DataTokenizers, DataOfOtherProgramsRememberNone) {
  DataTokenizer tokenizer = open_data_tokenizer(config_);
  EXPECT_FALSE(tokenizer.made_by);
  EXPECT_FALSE(tokenizer.text);
  for (const char* name : {"none", "bytes"}) {
    config_.data.tokenizer = name;
    tokenizer = open_data_tokenizer(config_);
    EXPECT_EQ(tokenizer.made_by.has_value(), tokenizer.text != nullptr);
  }
  EXPECT_EQ(tokenizer.made_by->end_of_document, 256);
}

TEST_F(DataTokenizers, DataOfAnotherTokenizerThanTheConfigurationsAreRefused) {
  config_.data.tokenizer = "bytes";
  const TokenizerIdentity identity = learnt("a.tokenizer.json", "th");
  prepared("a", identity, 0);
  refused({prefix("a") + " and data.tokenizer have different tokenizers: a.tokenizer.json (259 tokens, hash ",
           "bytes (257 tokens)", "leave out data.tokenizer"});
  config_.data.tokenizer = folder_ / "a.tokenizer.json";
  EXPECT_EQ(open_data_tokenizer(config_).made_by->end_of_document, 0);
  config_.data.tokenizer = "none";
  EXPECT_FALSE(open_data_tokenizer(config_).text);
  EXPECT_EQ(open_data_tokenizer(config_).made_by->identity, identity);
}

TEST_F(DataTokenizers, AllStagesAndBlendsHaveOneTokenizer) {
  prepared("a", {"bytes", "", 257}, 256);
  Stage stage = config_.training.stages.front();
  stage.first_step = 5;
  stage.prefix = "";
  stage.blend = {{prefix("a"), 1}, {prefix("unknown"), 1}, {prefix("b"), 1}};
  config_.training.stages.push_back(stage);
  EXPECT_NO_THROW(open_data_tokenizer(config_));
  prepared("b", {"t.json", "abc", 257}, 256);
  refused({"the data " + prefix("a") + " and the data " + prefix("b"), "bytes (257 tokens), and t.json"});
  prepared("b", {"bytes", "", 257}, 255);
  refused({prefix("b"), "documents end with token 256 in the one and 255 in the other"});
  write_file(prefix("b") + ".dataset.json", "{}");
  refused({"b.dataset.json"});
}

TEST_F(DataTokenizers, TheModelHasARowForEachToken) {
  prepared("a", {"tokenizer.json", "0123456789", 301}, 7);
  expect_error<ConfigurationError>([&] { open_data_tokenizer(config_); },
                                   {"model.vocabulary is 300", "tokenizer.json (301 tokens", "301 or more"});
  config_.model.vocabulary = 301;
  EXPECT_NO_THROW(open_data_tokenizer(config_));
}

}  // namespace
}  // namespace ropewalk

#include "trainer/data/dataset_facts.h"

#include "tests/support/expect_error.h"

namespace ropewalk {
namespace {

TEST(DatasetFacts, ComeBackAsWritten) {
  const DatasetFacts facts{.tokenizer = {"my \"tokenizer\".json", "0123456789abcdef", 50257}, .end_of_document = 50256};
  const DatasetFacts read = dataset_facts_in(to_json(facts), "d.dataset.json");
  EXPECT_EQ(read.tokenizer, facts.tokenizer);
  EXPECT_EQ(read.tokenizer.name, facts.tokenizer.name);
  EXPECT_EQ(read.end_of_document, 50256);
}

TEST(DatasetFacts, WrongFilesAreRefusedByName) {
  const std::string good = to_json({.tokenizer = {"bytes", "", 257}, .end_of_document = 256});
  const auto with = [&](const std::string& text, const std::string& other) {
    std::string changed = good;
    changed.replace(changed.find(text), text.size(), other);
    return changed;
  };
  const auto refuses = [](const std::string& json, const std::string& what) {
    expect_error<DataError>([&] { dataset_facts_in(json, "d.dataset.json"); }, {"d.dataset.json", what});
  };
  refuses("", "JSON");
  refuses(good.substr(0, good.size() / 2), "JSON");
  refuses("[]", "format");
  refuses(with("ropewalk dataset", "other"), "format");
  refuses(with("\"version\": 1", "\"version\": 2"), "version");
  refuses(with("\"bytes\"", "7"), "name");
  refuses(with("257", "-1"), "vocabulary");
  refuses(with("257", "99999999999"), "vocabulary");
  refuses(with("256", "257"), "end_of_document");
  refuses(with("\"hash\"", "\"hush\""), "hash");
}

}  // namespace
}  // namespace ropewalk

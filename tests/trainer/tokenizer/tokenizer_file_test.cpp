// Which tokenizer.json files are read, which are refused, and with what message.
#include <sys/resource.h>

#include <functional>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/tokenizer/small_tokenizer.h"
#include "trainer/tokenizer/make_tokenizer.h"

namespace ropewalk {
namespace {

using Parts = std::vector<std::string>;

// A change of the small tokenizer, and what the message must name.
struct Refusal {
  const char* name;
  std::function<void(Json&)> change;
  Parts parts;
};

Json split(const Json& pattern, const char* behavior = "Isolated") {
  return {{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}, {"invert", false}};
}

Json steps(const std::vector<Json>& list) { return {{"type", "Sequence"}, {"pretokenizers", list}}; }

const Json kByteLevel = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};

// "single" of a template that begins with `token`, which special_tokens has with `ids`.
Json template_of(const char* token, const Json& ids, const Json& name_in_template) {
  const Json begin = {{"SpecialToken", {{"id", name_in_template}, {"type_id", 0}}}};
  const Json sequence = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({begin, sequence})},
          {"pair", Json::array()},
          {"special_tokens", {{token, {{"id", token}, {"ids", ids}, {"tokens", Json::array({token})}}}}}};
}

const Refusal kRefusals[] = {
    {"version", [](Json& f) { f["version"] = "2.0"; }, {"version", "\"2.0\"", "\"1.0\""}},
    {"unknown key", [](Json& f) { f["extra"] = 1; }, {"extra", "not supported"}},
    {"no model", [](Json& f) { f.erase("model"); }, {"\"model\" is missing"}},
    {"model type", [](Json& f) { f["model"]["type"] = "Unigram"; }, {"model", "\"Unigram\"", "only BPE"}},
    {"model key", [](Json& f) { f["model"]["extra"] = 1; }, {"model.extra", "not supported"}},
    {"dropout", [](Json& f) { f["model"]["dropout"] = 0.1; }, {"model.dropout", "0.1", "set it to null"}},
    {"dropout kind", [](Json& f) { f["model"]["dropout"] = "x"; }, {"model.dropout", "\"x\"", "a number"}},
    {"prefix", [](Json& f) { f["model"]["continuing_subword_prefix"] = "##"; }, {"model.continuing_subword_prefix"}},
    {"suffix", [](Json& f) { f["model"]["end_of_word_suffix"] = "</w>"; }, {"model.end_of_word_suffix"}},
    {"ignore_merges", [](Json& f) { f["model"]["ignore_merges"] = 1; }, {"model.ignore_merges", "true or false"}},
    {"vocabulary kind", [](Json& f) { f["model"]["vocab"] = Json::array(); }, {"model.vocab", "an object"}},
    {"id kind", [](Json& f) { f["model"]["vocab"]["the"] = "7"; }, {"model.vocab[\"the\"]", "a whole number"}},
    {"negative id", [](Json& f) { f["model"]["vocab"]["the"] = -1; }, {"model.vocab[\"the\"]", "-1"}},
    {"large id", [](Json& f) { f["model"]["vocab"]["the"] = 1 << 30; }, {"model.vocab[\"the\"]", "1073741824"}},
    {"id twice", [](Json& f) { f["model"]["vocab"]["the"] = 256; }, {"model.vocab[\"the\"]", "256", "\"th\""}},
    {"hole", [](Json& f) { f["model"]["vocab"]["new"] = 263; }, {"model.vocab", "no token has id 262", "\"new\""}},
    {"hole of an added token",
     [](Json& f) { f["added_tokens"][1]["id"] = 264; },
     {"model.vocab", "no token has id 261", "\"[X]\""}},
    {"no byte", [](Json& f) { f["model"]["vocab"].erase("a"), f["model"]["vocab"]["aa"] = 'a'; }, {"0x61", "\"a\""}},
    {"merge of unknown", [](Json& f) { f["model"]["merges"][1][1] = "xy"; }, {"model.merges[1]", "\"xy\""}},
    {"merge to unknown", [](Json& f) { f["model"]["merges"][1][1] = "x"; }, {"model.merges[1]", "\"thx\""}},
    {"merge twice",
     [](Json& f) {
       f["model"]["merges"][3] = Json::array({"t", "h"});
     },
     {"model.merges[3]", "twice"}},
    {"merge of three",
     [](Json& f) {
       f["model"]["merges"][0] = Json::array({"t", "h", "e"});
     },
     {"model.merges[0]"}},
    {"merge of one", [](Json& f) { f["model"]["merges"][0] = "th"; }, {"model.merges[0]", "a space between"}},
    {"two spaces", [](Json& f) { f["model"]["merges"][0] = "t h e"; }, {"model.merges[0]", "a space between"}},
    {"merge kind", [](Json& f) { f["model"]["merges"][0] = 7; }, {"model.merges[0]", "a pair of tokens"}},
    {"added twice", [](Json& f) { f["added_tokens"][1]["content"] = "<s>"; }, {"added_tokens[1]", "\"<s>\"", "twice"}},
    {"id of another", [](Json& f) { f["added_tokens"][1]["id"] = 257; }, {"added_tokens[1]", "257", "\"the\""}},
    {"two ids", [](Json& f) { f["added_tokens"][1]["content"] = "the"; }, {"added_tokens[1]", "261", "257"}},
    {"empty token", [](Json& f) { f["added_tokens"][1]["content"] = ""; }, {"added_tokens[1]", "empty"}},
    {"token key", [](Json& f) { f["added_tokens"][1]["extra"] = 1; }, {"added_tokens[1].extra"}},
    {"token id", [](Json& f) { f["added_tokens"][1].erase("id"); }, {"added_tokens[1]", "\"id\" is missing"}},
    {"normalizer", [](Json& f) { f["normalizer"]["type"] = "Lowercase"; }, {"normalizer", "\"Lowercase\"", "NFC"}},
    {"inner normalizer",
     [](Json& f) {
       f["normalizer"] = {{"type", "Sequence"}, {"normalizers", Json::array({{{"type", "Strip"}}})}};
     },
     {"normalizer.normalizers[0]", "\"Strip\""}},
    {"replace a regex",
     [](Json& f) {
       f["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", "a+"}}}, {"content", ""}};
     },
     {"normalizer", "regular expression"}},
    {"pre-tokenizer",
     [](Json& f) {
       f["pre_tokenizer"] = {{"type", "Whitespace"}};
     },
     {"pre_tokenizer", "Whitespace"}},
    {"no pre-tokenizer", [](Json& f) { f["pre_tokenizer"] = nullptr; }, {"pre_tokenizer", "ByteLevel"}},
    {"ByteLevel not last",
     [](Json& f) {
       f["pre_tokenizer"] = steps({kByteLevel, {{"type", "Digits"}, {"individual_digits", true}}});
     },
     {"pre_tokenizer", "ByteLevel", "last"}},
    {"behavior",
     [](Json& f) {
       f["pre_tokenizer"] = steps({split({{"String", "a"}}, "Mixed"), kByteLevel});
     },
     {"pretokenizers[0].behavior", "\"Mixed\""}},
    {"two patterns",
     [](Json& f) {
       f["pre_tokenizer"] = steps({split({{"String", "a"}, {"Regex", "b"}}), kByteLevel});
     },
     {"pretokenizers[0].pattern"}},
    {"regex that cannot be compiled",
     [](Json& f) {
       f["pre_tokenizer"] = steps({split({{"Regex", "a(b"}}), kByteLevel});
     },
     {"a(b"}},
    {"post-processor",
     [](Json& f) {
       f["post_processor"] = {{"type", "BertProcessing"}};
     },
     {"post_processor", "\"BertProcessing\""}},
    {"template of an unknown token",
     [](Json& f) { f["post_processor"] = template_of("<s>", Json::array({260}), "<t>"); },
     {"post_processor.single[0]", "\"<t>\""}},
    {"template of an unknown id",
     [](Json& f) { f["post_processor"] = template_of("<s>", Json::array({262}), "<s>"); },
     {"post_processor.single[0]", "262"}},
    {"decoder",
     [](Json& f) {
       f["decoder"] = {{"type", "WordPiece"}};
     },
     {"decoder", "\"WordPiece\""}},
};

TEST(TokenizerFile, EachRefusalNamesThePlaceAndTheValue) {
  tokenizer_of(small_tokenizer());  // is accepted
  for (const Refusal& refusal : kRefusals) {
    SCOPED_TRACE(refusal.name);
    Json file = small_tokenizer();
    refusal.change(file);
    expect_error<DataError>([&] { tokenizer_of(file); }, refusal.parts);
  }
}

// A hole is found before memory is taken for it: ids up to 16 million would take 640 MB.
TEST(TokenizerFile, MemoryGrowsWithTheFileNotWithTheLargestId) {
  const auto peak = [] {
    rusage usage;
    EXPECT_EQ(::getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss / 1024;  // MB
  };
  const auto expect_little = [&](const Json& file) {
    const int64_t before = peak();
    expect_error<DataError>([&] { tokenizer_of(file); }, {"model.vocab", "no token has id 26"});
    EXPECT_LT(peak() - before, 64);
  };
  Json far_in_vocabulary = small_tokenizer(), far_added = small_tokenizer();
  far_in_vocabulary["model"]["vocab"]["new"] = 0xFFFFFE;
  far_added["added_tokens"][1]["id"] = 0xFFFFFE;
  expect_little(far_in_vocabulary);
  expect_little(far_added);
}

TEST(TokenizerFile, AnAddedTokenMayBeInTheVocabularyToo) {
  Json file = small_tokenizer();
  file["model"]["vocab"]["<s>"] = 260;
  EXPECT_EQ(tokenizer_of(file)->vocabulary_size(), 262);
  file["model"]["vocab"]["[X]"] = 261;
  EXPECT_EQ(tokenizer_of(file)->vocabulary_size(), 262);
}

TEST(TokenizerFile, TextThatIsNotAnObjectIsRefused) {
  for (const char* text : {"", "{", "[]", "7", "{\"model\":{}} x"}) {
    SCOPED_TRACE(text);
    expect_error<DataError>([&] { parse_tokenizer_file(text); }, {});
  }
}

TEST(TokenizerFile, AKeyOrATokenThatOccursTwiceIsRefused) {
  std::string text = small_tokenizer().dump();
  text.insert(text.find("\"th\":"), "\"th\":262,");
  expect_error<DataError>([&] { parse_tokenizer_file(text); }, {"model.vocab[\"th\"]", "twice"});
  text = small_tokenizer().dump();
  text.insert(1, "\"version\":\"1.0\",");
  expect_error<DataError>([&] { parse_tokenizer_file(text); }, {"\"version\"", "twice"});
}

TEST(TokenizerFile, TheTemplateGivesIdsAroundAText) {
  Json file = small_tokenizer();
  const Json level = {{"type", "ByteLevel"}, {"trim_offsets", false}};
  file["post_processor"] = {{"type", "Sequence"},
                            {"processors", Json::array({level, template_of("<s>", Json::array({260}), "<s>")})}};
  Json& single = file["post_processor"]["processors"][1]["single"];
  single.push_back(single[0]);
  single.push_back(single[0]);
  const Tokenizer::Template ids = tokenizer_of(file)->special_ids();
  EXPECT_EQ(ids.before, (std::vector<int32_t>{260}));
  EXPECT_EQ(ids.after, (std::vector<int32_t>{260, 260}));
}

// What does not change ids does not change the hash: the form of merges, white space, the order of keys and of tokens.
TEST(TokenizerFile, TheHashIsOfWhatIdsDependOn) {
  const auto hash = [](const Json& file, int indent = -1) { return hash_of(parse_tokenizer_file(file.dump(indent))); };
  const Json file = small_tokenizer();
  const std::string expected = hash(file);
  EXPECT_EQ(hash(file, 2), expected);
  Json other = file;
  for (Json& merge : other["model"]["merges"]) merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  other["truncation"] = {{"max_length", 8}};
  other["model"]["unk_token"] = "<unk>";
  std::swap(other["added_tokens"][0], other["added_tokens"][1]);
  other["model"]["vocab"] = nlohmann::json(other["model"]["vocab"]);  // sorted
  EXPECT_EQ(hash(nlohmann::json(other)), expected);

  const std::function<void(Json&)> changes[] = {
      [](Json& f) { std::swap(f["model"]["vocab"]["a"], f["model"]["vocab"]["b"]); },
      [](Json& f) { std::swap(f["model"]["merges"][0], f["model"]["merges"][3]); },
      [](Json& f) { f["model"]["merges"].erase(3); },
      [](Json& f) { f["model"]["ignore_merges"] = true; },
      [](Json& f) { f["added_tokens"][0]["content"] = "<t>"; },
      [](Json& f) { f["added_tokens"][0]["lstrip"] = true; },
      [](Json& f) { f["added_tokens"][0]["rstrip"] = true; },
      [](Json& f) { f["added_tokens"][0]["single_word"] = true; },
      [](Json& f) { f["added_tokens"][0]["normalized"] = true; },
      [](Json& f) { f["added_tokens"][0]["special"] = false; },
      [](Json& f) {
        f["normalizer"] = {{"type", "NFC"}};
      },
      [](Json& f) {
        f["normalizer"] = {{"type", "NFD"}};
      },
      [](Json& f) { f["pre_tokenizer"]["use_regex"] = false; },
      [](Json& f) { f["pre_tokenizer"]["add_prefix_space"] = true; },
      [](Json& f) {
        f["pre_tokenizer"] = steps({split({{"String", "a"}}), kByteLevel});
      },
      [](Json& f) {
        f["pre_tokenizer"] = steps({split({{"Regex", "a"}}), kByteLevel});
      },
      [](Json& f) {
        f["pre_tokenizer"] = steps({split({{"String", "a"}}, "Removed"), kByteLevel});
      }};
  std::vector<std::string> hashes = {expected};
  for (const auto& change : changes) {
    Json changed = file;
    change(changed);
    hashes.push_back(hash(changed));
  }
  std::ranges::sort(hashes);
  EXPECT_EQ(std::ranges::adjacent_find(hashes), hashes.end()) << "two different tokenizers have one hash";
}

TEST(MakeTokenizer, ReadsAFileOrItsDirectoryAndTheEndOfADocumentBesideIt) {
  const TemporaryDirectory directory;
  write_file(directory / "tokenizer.json", small_tokenizer().dump());
  EXPECT_EQ(make_tokenizer(directory.path().string())->end_of_document(), std::nullopt);
  write_file(directory / "tokenizer_config.json", R"({"eos_token": "<s>"})");
  const auto tokenizer = make_tokenizer(directory.path().string());
  EXPECT_EQ(tokenizer->end_of_document(), 260);
  EXPECT_EQ(tokenizer->identity(), make_tokenizer((directory / "tokenizer.json").string())->identity());
  EXPECT_EQ(make_tokenizer(directory.path().string(), "[X]")->end_of_document(), 261);
  write_file(directory / "tokenizer_config.json", R"({"eos_token": {"content": "[X]", "lstrip": false}})");
  EXPECT_EQ(make_tokenizer(directory.path().string())->end_of_document(), 261);
}

TEST(MakeTokenizer, ErrorsNameTheFile) {
  const TemporaryDirectory directory;
  const std::string file = (directory / "tokenizer.json").string();
  expect_error<ConfigurationError>([&] { make_tokenizer(file); }, {file, "'bytes'", "tokenizer.json"});
  write_file(file, "{");
  expect_error<DataError>([&] { make_tokenizer(file); }, {file, "JSON"});
  write_file(file, small_tokenizer().dump());
  expect_error<ConfigurationError>([&] { make_tokenizer(file, "<none>"); }, {"tokenizer.json", "\"<none>\""});
  write_file(directory / "tokenizer_config.json", R"({"eos_token": 7})");
  expect_error<DataError>([&] { make_tokenizer(file); }, {"tokenizer_config.json", "eos_token", "7"});
}

}  // namespace
}  // namespace ropewalk

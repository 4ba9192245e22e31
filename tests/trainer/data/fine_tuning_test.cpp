// Files of conversations, and prepare() with a template.
#include "trainer/data/fine_tuning.h"

#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "trainer/data/indexed_dataset.h"
#include "trainer/data/prepare.h"
#include "trainer/data/targets.h"
#include "trainer/tokenizer/make_tokenizer.h"

namespace ropewalk {
namespace {

constexpr const char* kForm =
    "end_of_document: true role { name: 'prompt' } role { name: 'completion' target: true } role { name: 'user' "
    "before: "
    "'<' after: '>' } role { name: 'bot' end: '.' target: true }";
const std::string kPair = R"({"prompt": "ab", "completion": "cd"})",
                  kMessages = R"({"messages": [{"role": "user", "content": "x"}, {"role": "bot", "content": "y"},
{"role": "user", "content": "z"}, {"role": "bot", "content": "w"}]})";

std::string on_one_line(std::string text) {
  std::erase(text, '\n');
  return text;
}

class FineTuning : public testing::Test {
 protected:
  PrepareOptions to_x() const {
    PrepareOptions options;
    options.inputs = {folder_ / "in.txt"};
    options.prefix = folder_ / "x";
    return options;
  }

  PrepareSummary prepare_lines(const std::string& text, bool skip = false) {
    write_file(folder_ / "in.txt", text);
    PrepareOptions options = to_x();
    options.overwrite = true;
    options.documents.skip_bad_lines = skip;
    options.documents.block_bytes = 32;
    options.chat_template = parse_chat_template(kForm, "form");
    return prepare(options, *bytes_);
  }

  // Of all documents: "ab*|c*": bytes with stars at targets; # ends a document.
  std::string prepared() const {
    const IndexedDataset dataset(folder_ / "x", 257);
    const auto mask = open_target_mask(folder_ / "x", dataset.tokens());
    std::vector<int32_t> tokens(static_cast<size_t>(dataset.tokens()));
    dataset.read(0, tokens);
    std::string out;
    for (int64_t i = 0, document = 1; i < dataset.tokens(); ++i) {
      if (i == dataset.document_begin(document)) out += '|', ++document;
      const int32_t id = tokens[static_cast<size_t>(i)];
      out += id == 256 ? '#' : static_cast<char>(id);
      if ((*mask)[i]) out += '*';
    }
    return out;
  }

  TemporaryDirectory folder_;
  std::unique_ptr<Tokenizer> bytes_ = make_tokenizer("bytes");
};

TEST_F(FineTuning, EachLineIsADocument) {
  const PrepareSummary summary = prepare_lines(kPair + "\n\n  \r\n" + on_one_line(kMessages));
  EXPECT_EQ(prepared(), "abc*d*#*|<x>y*.*<z>w*.*#*");
  EXPECT_EQ(summary.done.documents, 2);
  EXPECT_EQ(summary.done.tokens, 5 + 11);
  EXPECT_EQ(summary.done.targets, 3 + 5);
  EXPECT_EQ(summary.written, (std::vector<std::string>{folder_ / "x.bin", folder_ / "x.idx", folder_ / "x.targets",
                                                       folder_ / "x.dataset.json"}));
}

TEST_F(FineTuning, ABadLineIsNamedOrLeftOut) {
  const std::vector<std::pair<std::string, std::string>> lines = {
      {R"({"messages": [{"role": "bott", "content": "x"}]})", "has the role \"bott\"; the template form has prompt"},
      {R"({"messages": [{"role": "user", "content": "x"}]})", "nothing to learn"},
      {R"({"prompt": "x", "completion": ""})", "\"completion\" is empty"},
      {"{\"prompt\": \"\xff\", \"completion\": \"a\"}", "invalid UTF-8 at byte 13 of the line (0xff)"},
      {"{", "JSON"},
  };
  for (const auto& [line, why] : lines) {
    SCOPED_TRACE(line);
    const std::string text = kPair + "\n" + line + "\n" + kPair;
    expect_error<DataError>([&, &bad = text] { prepare_lines(bad); }, {"in.txt:2: ", why, "--skip-bad-lines"});
    const PrepareSummary summary = prepare_lines(text, true);
    EXPECT_EQ(prepared(), "abc*d*#*|abc*d*#*");
    EXPECT_EQ(summary.skipped.count, 1);
  }
}

TEST_F(FineTuning, OptionsForOtherInputAreRefused) {
  write_file(folder_ / "in.txt", kPair);
  PrepareOptions options = to_x();
  options.chat_template = parse_chat_template(kForm, "form");
  options.documents.json_key = "text";
  expect_error<ConfigurationError>([&] { prepare(options, *bytes_); }, {"--template", "leave out"});
}

}  // namespace
}  // namespace ropewalk

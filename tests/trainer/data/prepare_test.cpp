#include "trainer/data/prepare.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "kernels/random.h"
#include "tests/support/as_nobody.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/data/index_bytes.h"
#include "tests/trainer/tokenizer/word_tokenizer.h"
#include "trainer/data/indexed_dataset.h"
#include "trainer/tokenizer/make_tokenizer.h"

namespace ropewalk {
namespace {

using Texts = std::vector<std::string>;

// What prepare writes for the prefix "out".
constexpr const char* kOutputs[] = {"out.bin",
                                    "out.idx",
                                    "out.bin.tmp",
                                    "out.idx.tmp",
                                    "out.lock.tmp",
                                    "out.dataset.json",
                                    "out.dataset.json.tmp",
                                    "out.tokenizer.json",
                                    "out.tokenizer.json.tmp"};

class Prepare : public ::testing::Test {
 protected:
  PrepareOptions options(const Texts& inputs) {
    PrepareOptions out;
    for (const std::string& input : inputs) out.inputs.push_back(folder_ / input);
    out.prefix = folder_ / "out";
    return out;
  }
  bool has_output() {
    return std::filesystem::exists(folder_ / "out.bin") || std::filesystem::exists(folder_ / "out.idx");
  }
  bool has_leftovers() {
    for (const std::string& name : folder_.names())
      if (name.ends_with(".tmp")) return true;
    return false;
  }

  // The documents of the output; each must end with the end-of-document token.
  Texts output() {
    const IndexedDataset dataset(folder_ / "out", 257);
    Texts texts;
    for (int64_t d = 0; d < dataset.documents(); ++d) {
      std::vector<int32_t> ids(static_cast<size_t>(dataset.document_begin(d + 1) - dataset.document_begin(d)));
      dataset.read(dataset.document_begin(d), ids);
      EXPECT_EQ(ids.back(), 256);
      EXPECT_EQ(std::count(ids.begin(), ids.end(), 256), 1);
      texts.push_back(tokenizer_->decode(ids));
    }
    return texts;
  }
  PrepareSummary prepare(const PrepareOptions& asked,
                         const std::function<void(const PrepareProgress&)>& progress = {}) {
    return ropewalk::prepare(asked, *tokenizer_, progress);
  }

  TemporaryDirectory folder_;
  const std::unique_ptr<Tokenizer> tokenizer_ = make_tokenizer("bytes");
};

TEST_F(Prepare, BytesOfTheOutput) {
  write_file(folder_ / "a.txt", "ab\xC3\xA9");
  const PrepareSummary summary = prepare(options({"a.txt"}));
  EXPECT_EQ(read_file(folder_ / "out.bin"), bytes_of<uint16_t>({'a', 'b', 0xC3, 0xA9, 256}));
  EXPECT_EQ(summary.done.documents, 1);
  EXPECT_EQ(summary.done.tokens, 5);
  EXPECT_EQ(summary.done.bytes_done, 4);
  EXPECT_EQ(summary.done.bytes_total, 4);
  EXPECT_EQ(summary.input_files, 1);
  EXPECT_EQ(summary.vocabulary, 257);
  EXPECT_EQ(summary.token_type, "u16");
  EXPECT_EQ(summary.written, (Texts{folder_ / "out.bin", folder_ / "out.idx", folder_ / "out.dataset.json"}));
}

// With a tokenizer whose ids depend on neighbours, the ids are those of each document as a whole, whatever the block
// size. Texts are longer than kKindBytes, the smallest block size.
TEST_F(Prepare, TokensDoNotDependOnHowTextIsCut) {
  const RandomStream random(6, "documents");
  const WordTokenizer words;
  Texts documents;
  for (const size_t characters : {20'000, 0, 1, 300, 9'000, 2, 40, 15'000})
    documents.push_back(text_of_words(random, 100'000 * documents.size(), characters));
  std::string separated, lines;
  std::vector<uint16_t> expected;
  for (const std::string& document : documents) {
    separated += (separated.empty() ? "" : "<|>") + document;
    std::string escaped;
    for (const char c : document) escaped += c == '\n' ? "\\n" : std::string(1, c);
    lines += "{\"text\":\"" + escaped + "\"}\n";
    if (document.empty()) continue;
    for (const int32_t id : words.encode(document)) expected.push_back(static_cast<uint16_t>(id));
    expected.push_back(static_cast<uint16_t>(words.end_of_document().value()));
  }
  write_file(folder_ / "a.txt", separated);
  write_file(folder_ / "a.jsonl", lines);
  for (const bool skip_bad_lines : {false, true}) {
    for (const std::string input : {"a.txt", "a.jsonl"}) {
      for (const size_t block_bytes : {1, 2, 3, 7, 100, 4096, 4097, 5000, 1 << 20}) {
        PrepareOptions asked = options({input});
        asked.overwrite = true;
        asked.documents.block_bytes = block_bytes;
        asked.documents.skip_bad_lines = skip_bad_lines;
        if (input == "a.txt") asked.documents.document_separator = "<|>";
        ropewalk::prepare(asked, words);
        ASSERT_EQ(read_file(folder_ / "out.bin"), bytes_of(expected)) << input << " " << block_bytes;
      }
    }
  }
}

TEST_F(Prepare, SeveralInputsInOrder) {
  std::filesystem::create_directory(folder_ / "in");
  write_file(folder_ / "in/2.txt", "two");
  write_file(folder_ / "in/1.jsonl", "{\"text\":\"one\"}\n{\"text\":\"and a half\"}\n");
  write_file(folder_ / "in/empty.txt", "");
  write_file(folder_ / "0.txt", "zero|and a half");
  PrepareOptions asked = options({"in", "0.txt"});
  asked.documents.document_separator = "|";
  const PrepareSummary summary = prepare(asked);
  EXPECT_EQ(output(), (Texts{"one", "and a half", "two", "zero", "and a half"}));
  EXPECT_EQ(summary.input_files, 4);
  EXPECT_EQ(summary.separators, 1);
  EXPECT_EQ(summary.done.bytes_done, summary.done.bytes_total);
}

TEST_F(Prepare, FoldersOfTheOutputAreMade) {
  write_file(folder_ / "a.txt", "x");
  PrepareOptions asked = options({"a.txt"});
  asked.prefix = folder_ / "new/folder/corpus.v1";
  prepare(asked);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "new/folder/corpus.v1.bin"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "new/folder/corpus.v1.idx"));
}

TEST_F(Prepare, ProgressNeverFallsAndReachesTheEnd) {
  write_file(folder_ / "a.txt", std::string(4'000'000, 'a'));
  write_file(folder_ / "b.txt", std::string(2'000'000, 'b'));
  PrepareProgress last;
  int calls = 0;
  const PrepareSummary summary = prepare(options({"a.txt", "b.txt"}), [&](const PrepareProgress& now) {
    EXPECT_EQ(now.bytes_total, 6'000'000);
    EXPECT_GE(now.bytes_done, last.bytes_done);
    EXPECT_GE(now.tokens, last.tokens);
    EXPECT_GE(now.seconds, last.seconds);
    last = now;
    ++calls;
  });
  EXPECT_GE(calls, 1);
  EXPECT_EQ(last.bytes_done, 6'000'000);
  EXPECT_EQ(last.tokens, 6'000'002);
  EXPECT_EQ(last.documents, 2);
  EXPECT_EQ(summary.done.tokens, last.tokens);
}

TEST_F(Prepare, SkippedLinesAreReported) {
  write_file(folder_ / "a.jsonl", "{\"text\":\"one\"}\nbroken\n");
  write_file(folder_ / "b.jsonl", "broken\n");
  PrepareOptions asked = options({"a.jsonl", "b.jsonl"});
  asked.documents.skip_bad_lines = true;
  const PrepareSummary summary = prepare(asked);
  EXPECT_EQ(summary.skipped.count, 2);
  ASSERT_EQ(summary.skipped.messages.size(), 2u);
  EXPECT_NE(summary.skipped.messages[0].find("a.jsonl:2: "), std::string::npos);
  EXPECT_NE(summary.skipped.messages[1].find("b.jsonl:1: "), std::string::npos);
}

TEST_F(Prepare, OutputThatExistsIsKeptUnlessOverwritten) {
  write_file(folder_ / "a.txt", "first");
  prepare(options({"a.txt"}));
  write_file(folder_ / "a.txt", "second");
  expect_error<ConfigurationError>([&] { prepare(options({"a.txt"})); }, {"out.bin exists", "--overwrite"});
  std::filesystem::remove(folder_ / "out.bin");
  expect_error<ConfigurationError>([&] { prepare(options({"a.txt"})); }, {"out.idx exists"});
  for (const char* extension : {".dataset.json", ".tokenizer.json"}) {
    write_file(folder_ / (std::string("other") + extension), "x");
    PrepareOptions beside = options({"a.txt"});
    beside.prefix = folder_ / "other";
    expect_error<ConfigurationError>([&] { prepare(beside); }, {std::string("other") + extension + " exists"});
    std::filesystem::remove(folder_ / (std::string("other") + extension));
  }
  PrepareOptions asked = options({"a.txt"});
  asked.overwrite = true;
  prepare(asked);
  EXPECT_EQ(output(), (Texts{"second"}));
}

TEST_F(Prepare, ALinkThatLeadsNowhereIsOutputThatExists) {
  write_file(folder_ / "a.txt", "x");
  ASSERT_EQ(::symlink("absent", (folder_ / "out.bin").c_str()), 0);
  expect_error<ConfigurationError>([&] { prepare(options({"a.txt"})); }, {"out.bin exists"});
  EXPECT_FALSE(has_leftovers());
  PrepareOptions asked = options({"a.txt"});
  asked.overwrite = true;
  prepare(asked);
  EXPECT_EQ(output(), (Texts{"x"}));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "absent"));
}

TEST_F(Prepare, OutputThatIsAFolderIsRefused) {
  write_file(folder_ / "a.txt", "x");
  for (const char* name : kOutputs) {
    std::filesystem::create_directory(folder_ / name);
    PrepareOptions asked = options({"a.txt"});
    asked.overwrite = true;
    expect_error<ConfigurationError>([&] { prepare(asked); }, {std::string(name) + " is a folder"});
    std::filesystem::remove(folder_ / name);
  }
}

TEST_F(Prepare, OutputThatIsAnInputIsRefused) {
  for (const char* name : kOutputs) {
    write_file(folder_ / name, "text");
    PrepareOptions asked = options({name});
    asked.overwrite = true;
    expect_error<ConfigurationError>([&] { prepare(asked); }, {name, "is an input"});
    asked.inputs = {folder_.path()};
    expect_error<ConfigurationError>([&] { prepare(asked); }, {name, "is an input"});
    EXPECT_EQ(read_file(folder_ / name), "text");
    ASSERT_EQ(::symlink((folder_ / name).c_str(), (folder_ / "link").c_str()), 0);
    asked = options({"link"});
    asked.overwrite = true;
    expect_error<ConfigurationError>([&] { prepare(asked); }, {name, "is an input"});
    std::filesystem::remove(folder_ / "link");
    std::filesystem::remove(folder_ / name);
  }
}

TEST_F(Prepare, WrongOptionsAreRefused) {
  write_file(folder_ / "a.txt", "x");
  expect_error<ConfigurationError>([&] { prepare(options({})); }, {"nothing to prepare"});
  PrepareOptions asked = options({"a.txt"});
  asked.prefix = "";
  expect_error<ConfigurationError>([&] { prepare(asked); }, {"''", "names no file"});
  asked.prefix = folder_ / "";
  expect_error<ConfigurationError>([&] { prepare(asked); }, {"names no file"});
  for (const char* folder : {".", ".."}) {
    asked.prefix = folder_ / folder;
    expect_error<ConfigurationError>([&] { prepare(asked); }, {"names no file"});
  }
  asked = options({"a.txt"});
  asked.documents.document_separator = "\xC3";
  expect_error<ConfigurationError>([&] { prepare(asked); }, {"separator", "UTF-8"});
  EXPECT_FALSE(has_output());
}

TEST_F(Prepare, OptionsThatNoInputCanUseAreRefused) {
  write_file(folder_ / "a.txt", "x");
  write_file(folder_ / "b.jsonl", "{\"body\":\"x\"}");
  PrepareOptions asked = options({"b.jsonl"});
  asked.documents.json_key = "body";
  asked.documents.document_separator = "|";
  expect_error<ConfigurationError>([&] { prepare(asked); }, {"--separator is for text", "--format text"});
  asked.inputs = options({"a.txt"}).inputs;
  expect_error<ConfigurationError>([&] { prepare(asked); }, {"--json-key is for JSON lines", "--format jsonl"});
  asked.inputs = options({"a.txt", "b.jsonl"}).inputs;
  prepare(asked);
  EXPECT_EQ(output(), (Texts{"x", "x"}));
}

TEST_F(Prepare, EmptyInputIsRefused) {
  write_file(folder_ / "a.txt", "");
  write_file(folder_ / "b.jsonl", "\n\n{\"text\":\"\"}\n");
  expect_error<DataError>([&] { prepare(options({"a.txt"})); }, {"no text in", "a.txt (0 bytes, 0 bad lines skipped)"});
  expect_error<DataError>([&] { prepare(options({"a.txt", "b.jsonl"})); }, {"no text in 2 files"});
  EXPECT_FALSE(has_output());
  EXPECT_FALSE(has_leftovers());
}

TEST_F(Prepare, AnErrorInTheMiddleLeavesWhatWasThere) {
  write_file(folder_ / "good.txt", "good");
  prepare(options({"good.txt"}));
  write_file(folder_ / "bad.txt", "\xFF");
  PrepareOptions asked = options({"good.txt", "bad.txt"});
  asked.overwrite = true;
  expect_error<DataError>([&] { prepare(asked); }, {"bad.txt:1"});
  EXPECT_EQ(output(), (Texts{"good"}));
  EXPECT_FALSE(has_leftovers());

  write_file(folder_ / "good.txt", "another");
  asked = options({"good.txt"});
  asked.overwrite = true;
  EXPECT_THROW(prepare(asked, [](const PrepareProgress&) { throw std::runtime_error("stop"); }), std::runtime_error);
  EXPECT_EQ(output(), (Texts{"good"}));
  EXPECT_FALSE(has_leftovers());
}

// Refuses a document with a '!' in append(), and a document with a '?' in finish().
class Refusing : public WordTokenizer {
  class RefusingEncoder : public WordEncoder {
    void append(std::string_view piece, AddedTokens added, std::vector<int32_t>& ids) override {
      if (piece.find('!') != piece.npos) throw DataError("a mark in the text");
      asked_ = asked_ || piece.find('?') != piece.npos;
      WordEncoder::append(piece, added, ids);
    }
    void finish(std::vector<int32_t>& ids) override {
      if (asked_) throw DataError("a question in the text");
      WordEncoder::finish(ids);
    }
    bool asked_ = false;
  };

 public:
  std::unique_ptr<Encoder> make_encoder() const override { return std::make_unique<RefusingEncoder>(); }
};

TEST_F(Prepare, ADocumentThatTheTokenizerRefusesIsNamed) {
  write_file(folder_ / "good.txt", "good");
  prepare(options({"good.txt"}));
  write_file(folder_ / "bad.jsonl", "{\"text\":\"one\"}\n{\"text\":\"two!\"}\n");
  write_file(folder_ / "late.txt", "three?");
  for (const auto& [file, document, said] : {std::tuple{"bad.jsonl", "document 3", "a mark in the text"},
                                             {"late.txt", "document 2", "a question in the text"}}) {
    PrepareOptions asked = options({"good.txt", file});
    asked.overwrite = true;
    expect_error<DataError>([&] { ropewalk::prepare(asked, Refusing(), {}); }, {file, document, said});
    EXPECT_EQ(output(), (Texts{"good"}));
    EXPECT_FALSE(has_leftovers());
  }
}

TEST_F(Prepare, FilesThatMayNotBeReadAreFoundBeforeTheWorkBegins) {
  write_file(folder_ / "a.txt", "x");
  write_file(folder_ / "secret.txt", "x");
  ASSERT_EQ(::chmod((folder_ / "secret.txt").c_str(), 0), 0);
  const AsNobody nobody;
  expect_error<DataError>(
      [&] {
        prepare(options({"a.txt", "secret.txt"}), [](const PrepareProgress&) { FAIL(); });
      },
      {"secret.txt", "Permission denied"});
  EXPECT_FALSE(has_leftovers());
}

}  // namespace
}  // namespace ropewalk

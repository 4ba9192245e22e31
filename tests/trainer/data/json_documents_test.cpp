#include "kernels/random.h"
#include "tests/trainer/data/collected.h"
#include "tests/trainer/data/scratch.h"
#include "trainer/data/line_blocks.h"

namespace ropewalk {
namespace {

using Texts = std::vector<std::string>;

class JsonDocuments : public ::testing::Test {
 protected:
  Collected read(const std::string& lines, const DocumentOptions& options = {}) {
    write_file(folder_ / "a.jsonl", lines);
    return collect(folder_ / "a.jsonl", options);
  }
  // The bad line is the third.
  void expect_refused(const std::string& line, const std::vector<std::string>& parts) {
    for (const std::string end : {"", "\n", "\n{\"text\":\"after\"}\n"}) {
      std::vector<std::string> all = {"a.jsonl:3: "};
      all.insert(all.end(), parts.begin(), parts.end());
      expect_error<DataError>([&] { read("{\"text\":\"one\"}\n\n" + line + end); }, all);
    }
  }
  ScratchFolder folder_;
};

TEST_F(JsonDocuments, ALineIsADocument) {
  EXPECT_EQ(read("{\"text\":\"one\"}\n{\"id\": 3, \"text\" : \"two\\nlines\", \"more\": [1, {}]}").documents,
            (Texts{"one", "two\nlines"}));
  EXPECT_EQ(read("\n  \t\n{\"text\":\"one\"}\r\n\r\n{\"text\":\"two\"}\r\n\n").documents, (Texts{"one", "two"}));
  EXPECT_EQ(read("{\"text\":\"\"}\n{\"text\":\" \"}\n").documents, (Texts{" "}));
  EXPECT_EQ(read("\xEF\xBB\xBF{\"text\":\"one\"}").documents, (Texts{"one"}));
  EXPECT_EQ(read("").documents, Texts{});
}

TEST_F(JsonDocuments, EscapesBecomeText) {
  EXPECT_EQ(read(R"({"text":"\"\\\/\b\f\n\r\t\u0000\u00e9\u6f22\ud83d\ude42"})").documents,
            (Texts{std::string("\"\\/\b\f\n\r\t\0\xC3\xA9\xE6\xBC\xA2\xF0\x9F\x99\x82", 18)}));
}

TEST_F(JsonDocuments, TheKeyCanBeChosen) {
  DocumentOptions options;
  options.json_key = "content";
  EXPECT_EQ(read("{\"text\":\"one\",\"content\":\"two\"}", options).documents, (Texts{"two"}));
}

TEST_F(JsonDocuments, TheFormatCanBeChosen) {
  write_file(folder_ / "lines.txt", "{\"text\":\"one\"}");
  EXPECT_EQ(collect(folder_ / "lines.txt").documents, (Texts{"{\"text\":\"one\"}"}));
  DocumentOptions options;
  options.format = InputFormat::kJsonLines;
  EXPECT_EQ(collect(folder_ / "lines.txt", options).documents, (Texts{"one"}));
  options.format = InputFormat::kText;
  EXPECT_EQ(read("{}", options).documents, (Texts{"{}"}));
  write_file(folder_ / "upper.JSON", "{\"text\":\"one\"}");
  EXPECT_EQ(collect(folder_ / "upper.JSON").documents, (Texts{"one"}));
}

// Lines of all lengths around and above a block, so that they begin and end everywhere in it.
TEST_F(JsonDocuments, LinesAcrossBlocks) {
  const RandomStream random(2, "lines");
  Texts expected;
  std::string lines;
  for (uint64_t i = 0; i < 400; ++i) {
    const size_t length = i % 100 == 7 ? 3 * LineBlocks::kBlockBytes + i : 1 + random.bits(i)[0] % 40'000;
    expected.emplace_back(length, static_cast<char>('a' + i % 26));
    lines += "{\"text\":\"" + expected.back() + "\"}\n";
  }
  const Collected collected = read(lines);
  EXPECT_TRUE(collected.documents == expected);
  EXPECT_LE(collected.longest_piece, LineBlocks::kBlockBytes);
  EXPECT_EQ(collected.bytes, static_cast<int64_t>(lines.size()));
}

TEST_F(JsonDocuments, WhatIsNotJsonIsRefusedWithItsLine) {
  expect_refused("{\"text\":\"cut", {"not JSON"});
  expect_refused("{\"text\":\"one\"} more", {"not JSON"});
  expect_refused("{\"text\":\"one\"}{\"text\":\"two\"}", {"not JSON"});
  expect_refused("{\"text\":\"one\",}", {"not JSON"});
  expect_refused("{\"text\":\"one\", \"broken\": tru}", {"not JSON"});
  expect_refused("{'text':'one'}", {"not JSON"});
  expect_refused("plain text", {"not JSON"});
  expect_refused("{\"text\":\"\\x\"}", {"not JSON"});
  expect_refused(std::string("{\"text\":\"a\0b\"}", 14), {"not JSON"});  // a raw control character
  expect_refused(std::string(100'000, '['), {"not JSON"});
}

TEST_F(JsonDocuments, OtherJsonIsRefusedWithItsLine) {
  expect_refused("[\"text\"]", {"not a JSON object"});
  expect_refused("\"text\"", {"not a JSON object"});
  expect_refused("{\"content\":\"one\",\"id\":1}", {"no member \"text\"", "\"content\", \"id\""});
  expect_refused("{}", {"no member \"text\"", "none"});
  expect_refused("{\"text\":1}", {"\"text\" is not a string"});
  expect_refused("{\"text\":null}", {"\"text\" is not a string"});
  expect_refused("{\"text\":[\"one\"]}", {"\"text\" is not a string"});
}

TEST_F(JsonDocuments, InvalidUtf8IsRefusedWithItsLine) {
  expect_refused("{\"text\":\"ab\xFF\"}", {"invalid UTF-8 at byte 12 of the line (0xff)"});
  expect_refused("{\"text\":\"ok\",\"other\":\"\xC3\"}", {"invalid UTF-8"});
}

TEST_F(JsonDocuments, HalvesOfSurrogatePairsAreNamed) {
  expect_refused(R"({"text":"\ud83d"})", {R"(\ud83d is a lone surrogate, half of a character)"});
  expect_refused(R"({"text":"\ud83dx"})", {"lone surrogate"});
  expect_refused(R"({"text":"\ud83d\u0041"})", {R"(\ud83d is a lone)"});
  expect_refused(R"({"text":"\ude42"})", {R"(\ude42 is a lone)"});
  expect_refused(R"({"text":"\ud83d\ude42\\\uDE42"})", {R"(\uDE42 is a lone)"});
  expect_refused(R"({"text":"\\ud83d \ud83d\ude42)", {"not JSON: "});  // an escaped backslash, and a whole pair
}

TEST_F(JsonDocuments, JsonThatIsNotInLinesIsRecognised) {
  for (const char* array : {"[", " [\r", "[{\"text\":\"one\"},", "[{\"text\":\"one\"}]"})
    expect_refused(array, {"hold one object a line; this looks like an array: `jq -c '.[]' FILE` makes lines of it"});
  for (const char* object : {"{", "{ \"text\": \"one\",", "{\"text\":\"one\", \"more\": [", "{\"more\":{ \r"})
    expect_refused(object, {"hold one object a line; this looks like an object spread over lines: `jq -c . FILE`"});
}

// Which of two a reader takes is its own affair (Python and jq the last, others the first), so it is a mistake.
TEST_F(JsonDocuments, AnAmbiguousTextIsRefused) {
  expect_refused(R"({"text":"one","text":"two"})", {"more than one member \"text\""});
  expect_refused(R"({"text":"one","id":1,"\u0074ext":"one"})", {"more than one member \"text\""});
  EXPECT_EQ(read(R"({"text":"one","id":1,"id":2})").documents, (Texts{"one"}));
}

TEST_F(JsonDocuments, BadLinesCanBeSkippedAndAreCounted) {
  DocumentOptions options;
  options.skip_bad_lines = true;
  const Collected collected =
      read("{\"text\":\"one\"}\nbroken\n{\"text\":\"\xFF\"}\n{\"id\":1}\n{\"text\":\"two\"}\n{\"text\":", options);
  EXPECT_EQ(collected.documents, (Texts{"one", "two"}));
  EXPECT_EQ(collected.skipped.count, 4);
  ASSERT_EQ(collected.skipped.messages.size(), 4u);
  for (const size_t i : {0, 1, 2, 3}) {
    const std::string place = "a.jsonl:" + std::to_string(std::vector<int>{2, 3, 4, 6}[i]) + ": ";
    EXPECT_NE(collected.skipped.messages[i].find(place), std::string::npos) << collected.skipped.messages[i];
  }
}

}  // namespace
}  // namespace ropewalk

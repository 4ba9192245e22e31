#include <simdjson.h>

#include "kernels/random.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/data/collected.h"
#include "trainer/data/json_scan.h"

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
  TemporaryDirectory folder_;
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

// Lines of all lengths around and above the block size, so that they begin and end at every place in a block.
TEST_F(JsonDocuments, LinesAcrossBlocks) {
  const RandomStream random(2, "lines");
  Texts expected;
  std::string lines;
  for (uint64_t i = 0; i < 400; ++i) {
    const size_t length = i % 100 == 7 ? 3 * DocumentOptions::kBlockBytes + i : 1 + random.bits(i)[0] % 40'000;
    expected.emplace_back(length, static_cast<char>('a' + i % 26));
    lines += "{\"text\":\"" + expected.back() + "\"}\n";
  }
  const Collected collected = read(lines);
  EXPECT_TRUE(collected.documents == expected);
  EXPECT_LE(collected.longest_piece, DocumentOptions::kBlockBytes);
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
  expect_refused(R"({"text":"\\ud83d \ud83d\ude42)", {"not JSON: "});  // an escaped backslash, and a complete pair
}

TEST_F(JsonDocuments, JsonThatIsNotInLinesIsRecognised) {
  for (const char* array : {"[", " [\r", "[{\"text\":\"one\"},", "[{\"text\":\"one\"}]"})
    expect_refused(array, {"hold one object a line; this looks like an array: `jq -c '.[]' FILE` makes lines of it"});
  for (const char* object : {"{", "{ \"text\": \"one\",", "{\"text\":\"one\", \"more\": [", "{\"more\":{ \r"})
    expect_refused(object, {"hold one object a line; this looks like an object spread over lines: `jq -c . FILE`"});
}

// Readers differ in which of two members they take (Python and jq the last, others the first), so this is an error.
TEST_F(JsonDocuments, AnAmbiguousTextIsRefused) {
  expect_refused(R"({"text":"one","text":"two"})", {"more than one member \"text\""});
  expect_refused(R"({"text":"one","id":1,"\u0074ext":"one"})", {"more than one member \"text\""});
  EXPECT_EQ(read(R"({"text":"one","id":1,"id":2})").documents, (Texts{"one"}));
}

// Valid JSON that simdjson refuses anywhere in a line.
const Texts kUnusual = {"340282366920938463463374607431768211455",
                        "-98765432109876543210",
                        "1e999",
                        "-0.1E+123456789",
                        "1" + std::string(100'000, '0'),
                        R"("\ud83d")",
                        R"("\ude42 \uD83D\u0041")",
                        R"({"\ud83d":[1e999]})",
                        std::string(100'000, '[') + std::string(100'000, ']')};

TEST_F(JsonDocuments, MembersThatNobodyAskedForNeedNotBeUnderstood) {
  for (const std::string& value : kUnusual) {
    SCOPED_TRACE(value.substr(0, 50));
    EXPECT_EQ(read("{\"id\":" + value + ",\"text\":\"a\"}").documents, (Texts{"a"}));
    EXPECT_EQ(read("{\"text\":\"a\\n\", \"more\": {\"text\": 1, \"id\":" + value + "} }\r\n").documents,
              (Texts{"a\n"}));
    EXPECT_EQ(read("{\"\\u0074ext\":\"\\ud83d\\ude42\",\"id\":[" + value + "," + value + "]}").documents,
              (Texts{"\xF0\x9F\x99\x82"}));
  }
  EXPECT_EQ(read(R"({"\ud83d":1,"text":"a","\ude42":2})").documents, (Texts{"a"}));
}

// In lines with such values, the rules of JSON and of the text's member still hold.
TEST_F(JsonDocuments, UnusualMembersHideNothing) {
  for (const std::string& value : kUnusual) {
    SCOPED_TRACE(value.substr(0, 50));
    const std::string id = "{\"id\":" + value;
    expect_refused(id + "}", {"no member \"text\", only \"id\""});
    expect_refused(id + ",\"text\":1}", {"\"text\" is not a string"});
    expect_refused(id + ",\"text\":\"one\",\"text\":\"one\"}", {"more than one member \"text\""});
    expect_refused(id + ",\"text\":\"one\",\"\\u0074ext\":2}", {"more than one member \"text\""});
    expect_refused(id + ",\"text\":\"\\ud83d\"}", {R"(\ud83d is a lone surrogate)"});
    expect_refused(id + ",\"text\":\"\xFF\"}", {"invalid UTF-8"});
    expect_refused("[" + value + "]", {"not a JSON object"});
    for (const char* rest : {"",
                             ",}",
                             "}}",
                             "} {}",
                             ",\"text\":\"one\"",
                             ",\"text\":tru}",
                             ",\"x\":01}",
                             ",\"x\":1.}",
                             ",\"x\":.5}",
                             ",\"x\":+1}",
                             ",\"x\":-}",
                             ",\"x\":1e}",
                             ",\"x\":1e+}",
                             ",\"x\":NaN}",
                             ",\"x\":0x1}",
                             ",\"x\":\"\\x\"}",
                             ",\"x\":\"\\u12g4\"}",
                             ",\"x\":\"\t\"}",
                             ",\"x\":[1,]}",
                             ",\"x\":[1 2]}",
                             ",\"x\":[1}}",
                             ",\"x\"}",
                             ",x:1}",
                             ",1:1}",
                             ",,\"x\":1}",
                             ",\"x\":\"}"})
      expect_refused(id + rest, {"not JSON"});
  }
}

TEST_F(JsonDocuments, TheMessageSaysWhereAndWhat) {
  expect_refused("{\"text\":\"one\",}", {"not JSON: a comma before the } at byte 15 of the line"});
  expect_refused("{\"text\":\"one\"},", {"looks like an object spread over lines"});
  expect_refused("{\"text\":\"one\"} ,{}", {"not JSON: a comma after the value at byte 16"});
  expect_refused("{\"text\":\"one\"}\r{\"text\":\"two\"}", {"not JSON: something after the value at byte 16"});
  expect_refused("{'text':'one'}", {"not JSON: no member's name in double quotes at byte 2"});
  expect_refused("text,label", {"use --format text for plain text", "csv.DictReader"});
  expect_refused("\"text\",\"label\"", {"use --format text for plain text", "csv.DictReader"});
  expect_refused("\xEF\xBB\xBF{\"text\":\"two\"}", {"a byte order mark within the file"});
  expect_refused("{\"a\\nb\\u0007\":1,\"c\x7F\":1}", {R"(only "a\nb\u0007", "c\x7f")"});
}

// On texts close to valid JSON, the scanner and simdjson agree except on what simdjson does not support.
TEST(JsonScan, AgreesWithSimdjson) {
  const RandomStream random(3, "scan");
  const std::string sound = R"({"text":"a\u00e9\n","n":[0,-1.5e+3,true,false,null,{"x":{}}],"e":[ ]})";
  const std::string alphabet = R"({}[]:,"\u0123456789abeflnrst.+-E )";
  simdjson::dom::parser parser;
  int valid = 0;
  for (uint64_t i = 0; i < 200'000; ++i) {
    std::string text = sound;
    const auto bits = random.bits(i);
    for (uint32_t change = 0; change <= bits[0] % 2; ++change) {
      const size_t at = bits[1 + change] % text.size();
      const char c = alphabet[(bits[1 + change] >> 16) % alphabet.size()];
      switch (bits[3] >> (2 * change) & 3) {
        case 0:
          text[at] = c;
          break;
        case 1:
          text.insert(at, 1, c);
          break;
        default:
          text.erase(at, 1 + bits[3] % 3);
      }
    }
    const auto error = parser.parse(text).error();
    if (error == simdjson::NUMBER_ERROR || error == simdjson::STRING_ERROR) continue;
    const bool good = !scan_json(text, [](std::string_view, std::string_view) {});
    ASSERT_EQ(good, !error) << text << simdjson::error_message(error);
    valid += good;
  }
  EXPECT_GT(valid, 10'000);
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

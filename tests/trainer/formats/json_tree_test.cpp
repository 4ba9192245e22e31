// JSON is read as it stands, or refused: nothing is dropped, repaired or guessed.
#include "trainer/formats/json_tree.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/error.h"
#include "tests/support/expect_error.h"

namespace ropewalk {
namespace {

using Kind = JsonNode::Kind;

void expect_refused(const std::string& text, const std::string& because) {
  expect_error<DataError>([&] { parse_json(text); }, {because});
}

TEST(JsonTree, KeepsEveryKindOfValue) {
  const JsonNode root = parse_json(R"( {"n": null, "t": true, "f": false, "w": -7, "x": 2.5, "s": "a\u00e9\n",
                                       "l": [1, [], {}], "o": {"k": "v"}} )");
  ASSERT_EQ(root.kind, Kind::kObject);
  EXPECT_EQ(*root.find("n"), JsonNode());
  EXPECT_EQ(*root.find("t"), JsonNode(true));
  EXPECT_EQ(*root.find("f"), JsonNode(false));
  EXPECT_EQ(*root.find("w"), JsonNode(int64_t{-7}));
  EXPECT_EQ(*root.find("x"), JsonNode(2.5));
  EXPECT_EQ(*root.find("s"), JsonNode("a\xc3\xa9\n"));
  EXPECT_EQ(*root.find("l"), JsonNode::list({JsonNode(int64_t{1}), JsonNode::list({}), JsonNode::object()}));
  EXPECT_EQ(*root.find("o"), JsonNode::object({{"k", JsonNode("v")}}));
  EXPECT_EQ(root.find("absent"), nullptr);
  EXPECT_EQ(root.members[0].first, "n");  // in the order of the file
  EXPECT_EQ(root.members[7].first, "o");
  EXPECT_EQ(JsonNode(3.0).find("k"), nullptr);
}

TEST(JsonTree, TellsWholeNumbersFromOthers) {
  EXPECT_EQ(parse_json("9223372036854775807"), JsonNode(INT64_MAX));
  EXPECT_EQ(parse_json("-9223372036854775808"), JsonNode(INT64_MIN));
  for (const auto& [text, value] : {std::pair("9223372036854775808", 9223372036854775808.0),
                                    std::pair("18446744073709551616", 18446744073709551616.0),
                                    std::pair("-9223372036854775809", -9223372036854775809.0), std::pair("1.0", 1.0),
                                    std::pair("1e2", 100.0), std::pair("-0.0", -0.0), std::pair("5e-324", 5e-324)}) {
    const JsonNode node = parse_json(text);
    EXPECT_EQ(node.kind, Kind::kNumber) << text;
    EXPECT_EQ(node.number, value) << text;
    EXPECT_EQ(std::signbit(node.number), std::signbit(value)) << text;
  }
  expect_refused("1e999", "no JSON at byte");
  expect_refused("-1e999", "no JSON at byte");
}

TEST(JsonTree, RefusesWhatIsNoJson) {
  for (const char* text : {"",       " ",       "{",           "[1,]", "{\"a\":1,}", "{a:1}",   "{'a':1}",
                           "01",     "+1",      ".5",          "NaN",  "Infinity",   "nul",     "\"a",
                           "\"\n\"", "\"\\x\"", "\"\\ud800\"", "1 2",  "{} x",       "// c\n1", "\xef\xbb\xbf x"})
    expect_refused(text, "no JSON at byte");
  for (const char* text : {"\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xc3\"", "\"\xf5\x80\x80\x80\""})
    expect_refused(text, "no JSON at byte");
  expect_refused(std::string("{}\0", 3), "zero byte");
  expect_refused(std::string("{}\0x", 4), "zero byte");
  expect_refused(std::string("\"a\0b\"", 5), "zero byte");
}

TEST(JsonTree, RefusesAKeyThatComesTwice) {
  expect_refused(R"({"a":1,"b":2,"a":3})", "the key \"a\" comes twice in one object");
  expect_refused(R"({"x":{"a":1,"\u0061":3}})", "the key \"a\" comes twice");
  EXPECT_EQ(parse_json(R"([{"a":{"a":1}},{"a":2}])").items.size(), 2u);
}

std::string nested(size_t depth, const std::string& open, const std::string& close) {
  std::string text, end;
  for (size_t i = 0; i < depth; ++i) {
    text += open;
    end += close;
  }
  return text + "1" + end;
}

TEST(JsonTree, RefusesDeepNesting) {
  EXPECT_EQ(parse_json(nested(32, "[", "]")).kind, Kind::kList);
  EXPECT_EQ(parse_json(nested(32, "{\"a\":", "}")).kind, Kind::kObject);
  expect_refused(nested(33, "[", "]"), "nested deeper than 32 levels");
  expect_refused(nested(33, "{\"a\":", "}"), "nested deeper than 32 levels");
  expect_refused(std::string(1 << 20, '['), "nested deeper than 32 levels");
}

// A value of two bytes takes a hundred in memory.
TEST(JsonTree, RefusesTooManyValues) {
  std::string list = "[0";
  for (int i = 2; i < 1 << 20; ++i) list += ",0";  // with the list itself 2^20 values
  EXPECT_EQ(parse_json(list + "]").items.size(), (1u << 20) - 1);
  expect_refused(list + ",0]", "it has more than 1048576 values");
}

JsonNode random_node(std::mt19937_64& random, int depth) {
  switch (random() % (depth < 5 ? 7 : 5)) {
    case 0:
      return JsonNode();
    case 1:
      return JsonNode(random() % 2 == 0);
    case 2:
      return JsonNode(static_cast<int64_t>(random()));
    case 3:
      return JsonNode(
          std::ldexp(static_cast<double>(static_cast<int64_t>(random())), static_cast<int>(random() % 900)));
    case 4: {
      std::string text;
      for (uint64_t i = random() % 6; i > 0; --i)
        text += std::vector{"\"", "\\", "\x01", "\xe2\x82\xac", "a"}[random() % 5];
      return JsonNode(text);
    }
    case 5: {
      std::vector<JsonNode> items;
      for (uint64_t i = random() % 4; i > 0; --i) items.push_back(random_node(random, depth + 1));
      return JsonNode::list(std::move(items));
    }
    default: {
      JsonNode object = JsonNode::object();
      for (uint64_t i = random() % 4; i > 0; --i)
        object.set(std::to_string(random() % 8), random_node(random, depth + 1));
      return object;
    }
  }
}

TEST(JsonTree, IsReadAsItWasWritten) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) {
    const JsonNode node = random_node(random, 0);
    ASSERT_EQ(parse_json(json_text(node)), node) << json_text(node);
    ASSERT_EQ(parse_json(indented_json_text(node)), node) << json_text(node);
  }
  EXPECT_EQ(json_text(parse_json(R"({"b":[1,2.0,null],"a":{"x":"é"}})")), R"({"b":[1,2.0,null],"a":{"x":"é"}})");
  EXPECT_EQ(indented_json_text(parse_json(R"({"b":[1]})")), "{\n  \"b\": [\n    1\n  ]\n}\n");
}

TEST(JsonTree, SetsAndRemovesMembers) {
  JsonNode object = parse_json(R"({"a":1,"b":2,"c":3})");
  object.set("b", JsonNode("new"));
  object.set("d", JsonNode(true));
  object.remove("a");
  object.remove("absent");
  EXPECT_EQ(json_text(object), R"({"b":"new","c":3,"d":true})");
}

}  // namespace
}  // namespace ropewalk

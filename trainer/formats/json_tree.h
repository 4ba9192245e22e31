// A small JSON file of another program as a tree, in the order of the file: config.json, the index of a model's
// weights. Unlike common parsers, the reader refuses a key that an object has twice, because parsers differ in which
// one counts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ropewalk {

struct JsonNode {
  enum class Kind { kNull, kFlag, kWhole, kNumber, kText, kList, kObject };
  using Member = std::pair<std::string, JsonNode>;

  JsonNode() = default;  // null
  explicit JsonNode(bool value) : kind(Kind::kFlag), flag(value) {}
  explicit JsonNode(int64_t value) : kind(Kind::kWhole), whole(value), number(static_cast<double>(value)) {}
  explicit JsonNode(double value) : kind(Kind::kNumber), number(value) {}
  explicit JsonNode(std::string value) : kind(Kind::kText), text(std::move(value)) {}
  explicit JsonNode(const char* value) : JsonNode(std::string(value)) {}
  static JsonNode list(std::vector<JsonNode> items);
  static JsonNode object(std::vector<Member> members = {});

  bool operator==(const JsonNode&) const = default;

  const JsonNode* find(std::string_view key) const;  // of an object; null if it has no such member
  void set(const std::string& key, JsonNode value);  // replaces the member, or appends it
  void remove(std::string_view key);

  Kind kind = Kind::kNull;
  bool flag = false;            // kFlag
  int64_t whole = 0;            // kWhole: a number without fraction and exponent that fits
  double number = 0;            // kNumber, kWhole
  std::string text;             // kText: UTF-8
  std::vector<JsonNode> items;  // kList
  std::vector<Member> members;  // kObject
};

// Throws DataError naming the byte or the key, if the text is not valid JSON, is nested deeper than 32, has more than
// 2^20 values (which bounds the memory), or has a key twice.
JsonNode parse_json(std::string_view text);

std::string json_text(const JsonNode& node);           // on one line
std::string indented_json_text(const JsonNode& node);  // by two spaces, with a newline at the end

}  // namespace ropewalk

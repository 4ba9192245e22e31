#include "trainer/formats/json_tree.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "kernels/error.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kDeepest = 32;
constexpr int64_t kMostValues = 1 << 20;

// Receives the text as events and builds the tree.
class TreeBuilder : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return add(JsonNode()); }
  bool boolean(bool value) override { return add(JsonNode(value)); }
  bool number_integer(number_integer_t value) override { return add(JsonNode(value)); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<uint64_t>(INT64_MAX)) return add(JsonNode(static_cast<double>(value)));
    return add(JsonNode(static_cast<int64_t>(value)));
  }
  bool number_float(number_float_t value, const string_t&) override { return add(JsonNode(value)); }
  bool string(string_t& value) override { return add(JsonNode(value)); }
  bool binary(binary_t&) override { return false; }  // JSON has none
  bool start_object(size_t) override { return open(JsonNode::object()); }
  bool start_array(size_t) override { return open(JsonNode::list({})); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& value) override {
    if (!keys_.back().insert(value).second)
      throw DataError(fmt::format("the key {} comes twice in one object", in_quotes(value)));
    key_ = value;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& error) override {
    throw DataError(fmt::format("no JSON at byte {}: {}", position, in_quotes(error.what())));
  }

  JsonNode take() { return std::move(root_); }

 private:
  bool add(JsonNode node) {
    place(std::move(node));
    return true;
  }

  bool open(JsonNode node) {
    if (open_.size() == kDeepest) throw DataError(fmt::format("it is nested deeper than {} levels", kDeepest));
    open_.push_back(place(std::move(node)));
    keys_.emplace_back();
    return true;
  }

  bool close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  JsonNode* place(JsonNode node) {
    if (++values_ > kMostValues) throw DataError(fmt::format("it has more than {} values", kMostValues));
    if (open_.empty()) {
      root_ = std::move(node);
      return &root_;
    }
    JsonNode& parent = *open_.back();  // it stays in place: its own list of children grows, not the one it is in
    if (parent.kind == JsonNode::Kind::kList) return &parent.items.emplace_back(std::move(node));
    return &parent.members.emplace_back(key_, std::move(node)).second;
  }

  JsonNode root_;
  int64_t values_ = 0;
  std::vector<JsonNode*> open_;                        // from the root to the innermost object or list
  std::vector<std::unordered_set<std::string>> keys_;  // of each of them
  std::string key_;
};

Json json_of(const JsonNode& node) {
  using Kind = JsonNode::Kind;
  switch (node.kind) {
    case Kind::kNull:
      return nullptr;
    case Kind::kFlag:
      return node.flag;
    case Kind::kWhole:
      return node.whole;
    case Kind::kNumber:
      return node.number;
    case Kind::kText:
      return node.text;
    case Kind::kList: {
      Json list = Json::array();
      for (const JsonNode& item : node.items) list.push_back(json_of(item));
      return list;
    }
    case Kind::kObject: {
      Json object = Json::object();
      auto& members = object.get_ref<Json::object_t&>();  // a list; its operator[] would search it
      members.reserve(node.members.size());
      for (const auto& [key, value] : node.members) members.push_back({key, json_of(value)});
      return object;
    }
  }
  return nullptr;
}

auto member_named(auto& members, std::string_view key) {
  return std::ranges::find_if(members, [&](const JsonNode::Member& member) { return member.first == key; });
}

}  // namespace

JsonNode JsonNode::list(std::vector<JsonNode> items) {
  JsonNode node;
  node.kind = Kind::kList;
  node.items = std::move(items);
  return node;
}

JsonNode JsonNode::object(std::vector<Member> members) {
  JsonNode node;
  node.kind = Kind::kObject;
  node.members = std::move(members);
  return node;
}

const JsonNode* JsonNode::find(std::string_view key) const {
  const auto found = member_named(members, key);
  return found == members.end() ? nullptr : &found->second;
}

void JsonNode::set(const std::string& key, JsonNode value) {
  const auto found = member_named(members, key);
  if (found == members.end())
    members.emplace_back(key, std::move(value));
  else
    found->second = std::move(value);
}

void JsonNode::remove(std::string_view key) {
  std::erase_if(members, [&](const Member& member) { return member.first == key; });
}

JsonNode parse_json(std::string_view text) {
  // The parser would take a zero byte for the end of the text and ignore the rest.
  if (text.find('\0') != std::string_view::npos) throw DataError("no JSON: it has a zero byte");
  TreeBuilder builder;
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

std::string json_text(const JsonNode& node) { return json_of(node).dump(); }
std::string indented_json_text(const JsonNode& node) { return json_of(node).dump(2) + "\n"; }

}  // namespace ropewalk

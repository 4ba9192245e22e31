#include "trainer/data/conversation.h"

#include "kernels/error.h"
#include "trainer/formats/json_tree.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

using Kind = JsonNode::Kind;

constexpr const char* kForms =
    R"(write {"prompt": "...", "completion": "..."} or {"messages": [{"role": "...", "content": "..."}, ...]})";

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kNull:
      return "null";
    case Kind::kFlag:
      return "true or false";
    case Kind::kWhole:
    case Kind::kNumber:
      return "a number";
    case Kind::kText:
      return "text";
    case Kind::kList:
      return "a list";
    case Kind::kObject:
      return "an object";
  }
  CHECK(false, "kind {}", static_cast<int>(kind));
  return "";
}

// The text of a member. `where` begins an error: "" or "message 2: ".
std::string text_in(const JsonNode& object, const char* key, const std::string& where) {
  const JsonNode* const found = object.find(key);
  if (!found) throw DataError(fmt::format("{}there is no member \"{}\"; {}", where, key, kForms));
  if (found->kind != Kind::kText)
    throw DataError(fmt::format("{}\"{}\" is {}; it must be text", where, key, name_of(found->kind)));
  if (found->text.empty()) throw DataError(fmt::format("{}\"{}\" is empty", where, key));
  return found->text;
}

Message message_of(const JsonNode& node, size_t number) {
  const std::string where = fmt::format("message {}: ", number);
  if (node.kind != Kind::kObject)
    throw DataError(
        fmt::format("{}it is {}; it must be an object with \"role\" and \"content\"", where, name_of(node.kind)));
  for (const auto& [key, value] : node.members)
    if (key != "role" && key != "content" && value.kind != Kind::kNull)
      throw DataError(fmt::format("{}templates have no place for its member {}; remove it", where, in_quotes(key)));
  return {text_in(node, "role", where), text_in(node, "content", where)};
}

}  // namespace

Conversation conversation_in(std::string_view line) {
  const JsonNode root = parse_json(line);
  if (root.kind != Kind::kObject)
    throw DataError(fmt::format("the line is {}, not an object; {}", name_of(root.kind), kForms));
  const JsonNode* const messages = root.find("messages");
  const bool pair = root.find("prompt") || root.find("completion");
  if (messages && pair) throw DataError(fmt::format("the line has members of both forms; {}", kForms));
  if (pair) return {{"prompt", text_in(root, "prompt", "")}, {"completion", text_in(root, "completion", "")}};
  if (!messages) throw DataError(fmt::format("the line has no conversation; {}", kForms));
  if (messages->kind != Kind::kList)
    throw DataError(fmt::format("\"messages\" is {}; it must be a list", name_of(messages->kind)));
  if (messages->items.empty()) throw DataError("\"messages\" is empty");
  Conversation conversation;
  for (const JsonNode& item : messages->items) conversation.push_back(message_of(item, conversation.size() + 1));
  return conversation;
}

}  // namespace ropewalk

#include "trainer/data/chat_template.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "configs/chat_template.pb.h"
#include "kernels/error.h"
#include "trainer/config/config_text.h"
#include "trainer/config/field_names.h"
#include "trainer/files/input_file.h"
#include "trainer/text/format.h"
#include "trainer/text/nearest.h"

namespace ropewalk {
namespace {

constexpr int64_t kMostBytes = 1 << 20;  // of a template

TextSchema schema() {
  const auto suggest = [](const google::protobuf::Descriptor& message, const std::string& path, std::string_view name) {
    const std::string near = nearest_name(name, field_names(message));
    return near.empty() ? "" : join_path(path, near);
  };
  return {"a template", "configs/chat_template.proto describes them", suggest};
}

void check_roles(const proto::ChatTemplate& read, Problems& problems) {
  std::set<std::string> names;
  bool has_target = false;
  for (int i = 0; i < read.role_size(); ++i) {
    const proto::Role& role = read.role(i);
    const std::string path = fmt::format("role.{}", i);
    has_target |= role.target();
    if (role.name().empty()) problems.add({path, "", "has no name", "set its name, such as \"user\""});
    if (!role.name().empty() && !names.insert(role.name()).second)
      problems.add({path + ".name", excerpt(role.name()), "is the name of an earlier role, too", "keep one of them"});
  }
  if (read.role_size() == 0 && !problems.is_unreadable("role"))
    problems.add({"role", "", "is not set", "describe each role of a conversation by role { ... }"});
  if (read.role_size() > 0 && !has_target)
    problems.add(
        {"role", "", "has no entry with target: true, so there is nothing to learn", "set it for the assistant"});
  for (int i = 0; i < read.added_token_size(); ++i)
    if (read.added_token(i).text().empty())
      problems.add({fmt::format("added_token.{}", i), "", "has no text", "set its text, or remove it"});
}

const ChatTemplate::Role& role_of(const ChatTemplate& form, const Message& message, size_t number) {
  const auto found = std::ranges::find(form.roles, message.role, &ChatTemplate::Role::name);
  if (found != form.roles.end()) return *found;
  std::vector<std::string> names;
  for (const ChatTemplate::Role& role : form.roles) names.push_back(role.name);
  throw DataError(fmt::format("message {} has the role {}; the template {} has {}", number, in_quotes(message.role),
                              form.name, fmt::join(names, ", ")));
}

}  // namespace

ChatTemplate parse_chat_template(std::string_view text, const std::string& name) {
  Problems problems;
  proto::ChatTemplate read;
  if (read_message_text(text, name, schema(), read, problems)) check_roles(read, problems);
  problems.throw_if_any(name);
  ChatTemplate form{.name = name,
                    .begin = read.begin(),
                    .roles = {},
                    .added_tokens = {},
                    .begin_of_text = read.begin_of_text(),
                    .end_of_document = read.end_of_document()};
  for (const proto::Role& role : read.role())
    form.roles.push_back({role.name(), role.before(), role.end(), role.after(), role.target()});
  for (const proto::AddedToken& token : read.added_token()) form.added_tokens.push_back(token.text());
  return form;
}

ChatTemplate load_chat_template(const std::filesystem::path& file) {
  return parse_chat_template(read_text(real_file_system(FileOwner::kData), file, kMostBytes),
                             printable_name(file.string()));
}

void check_tokenizer(const ChatTemplate& form, const Tokenizer& tokenizer) {
  const std::string name = printable_name(tokenizer.identity().name);
  for (const std::string& token : form.added_tokens)
    if (!tokenizer.added_token(token))
      throw ConfigurationError(
          fmt::format("the template {} needs the added token {}, which the tokenizer {} does not have; choose another "
                      "template, such "
                      "as configs/templates/plain.textproto, or another tokenizer",
                      form.name, in_quotes(token), name));
  if (form.end_of_document && !tokenizer.end_of_document())
    throw ConfigurationError(
        fmt::format("the template {} ends a conversation with the end of a document (end_of_document), and the "
                    "tokenizer {} does not "
                    "say which token that is; name one by --end-of-document",
                    form.name, name));
}

std::vector<ChatPart> parts_of(const ChatTemplate& form, const Conversation& conversation) {
  std::vector<ChatPart> parts = {{form.begin, AddedTokens::kRecognize, false}};
  bool has_target = false;
  for (size_t i = 0; i < conversation.size(); ++i) {
    const ChatTemplate::Role& role = role_of(form, conversation[i], i + 1);
    has_target |= role.is_target;
    parts.push_back({role.before, AddedTokens::kRecognize, false});
    parts.push_back({conversation[i].content, AddedTokens::kAsText, role.is_target});
    parts.push_back({role.end, AddedTokens::kRecognize, role.is_target});
    parts.push_back({role.after, AddedTokens::kRecognize, false});
  }
  if (!has_target)
    throw DataError(fmt::format(
        "no message has a role that is a target in the template {}, so there is nothing to learn", form.name));
  std::erase_if(parts, [](const ChatPart& part) { return part.text.empty(); });
  return parts;
}

ChatEncoder::ChatEncoder(const ChatTemplate& form, const Tokenizer& tokenizer) : form_(form), tokenizer_(tokenizer) {
  check_tokenizer(form, tokenizer);
}

TargetedTokens ChatEncoder::encode(const Conversation& conversation) {
  TargetedTokens out;
  if (form_.begin_of_text) out.ids = tokenizer_.special_ids().before;
  out.is_target.resize(out.ids.size(), false);
  const std::vector<ChatPart> parts = parts_of(form_, conversation);
  // After an exception, which destroys it, the next conversation gets a new one.
  std::unique_ptr<Encoder> encoder = encoder_ ? std::move(encoder_) : tokenizer_.make_encoder();
  for (size_t i = 0; i < parts.size(); ++i) {
    encoder->append(parts[i].text, parts[i].added, out.ids);
    if (i + 1 == parts.size() || parts[i + 1].is_target != parts[i].is_target) encoder->finish(out.ids);
    out.is_target.resize(out.ids.size(), parts[i].is_target);
  }
  encoder_ = std::move(encoder);
  if (form_.end_of_document) {
    out.ids.push_back(*tokenizer_.end_of_document());
    const auto last = std::ranges::find(form_.roles, conversation.back().role, &ChatTemplate::Role::name);
    out.is_target.push_back(last->is_target);
  }
  if (std::find(out.is_target.begin() + (out.ids.empty() ? 0 : 1), out.is_target.end(), true) == out.is_target.end())
    throw DataError("no token is a target: only the first token would be one, and nothing precedes it");
  return out;
}

}  // namespace ropewalk

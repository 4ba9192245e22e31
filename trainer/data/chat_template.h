// Conversations as text, by a template (configs/chat_template.proto describes its file), and as tokens with targets.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/conversation.h"
#include "trainer/tokenizer/tokenizer.h"

namespace ropewalk {

struct ChatTemplate {
  struct Role {
    std::string name, before, end, after;
    bool is_target = false;
  };
  std::string name;  // of the file, for messages
  std::string begin;
  std::vector<Role> roles;
  std::vector<std::string> added_tokens;
  bool begin_of_text = false, end_of_document = false;
};

// Throws ConfigurationError with everything that is wrong: syntax, unknown fields, no role, a role twice or without a
// name, no role that is a target.
ChatTemplate parse_chat_template(std::string_view text, const std::string& name);
ChatTemplate load_chat_template(const std::filesystem::path& file);
// Throws ConfigurationError if the tokenizer lacks what the template needs: an added token, or an end of a document.
void check_tokenizer(const ChatTemplate& form, const Tokenizer& tokenizer);

// A part of a conversation's text. The views refer to the template and the conversation.
struct ChatPart {
  std::string_view text;
  AddedTokens added;
  bool is_target;
};
// Throws DataError for a role that the template does not have, and for a conversation without a message that is a
// target.
std::vector<ChatPart> parts_of(const ChatTemplate& form, const Conversation& conversation);

// Tokens, and which of them are targets.
struct TargetedTokens {
  std::vector<int32_t> ids;
  std::vector<bool> is_target;
};
// Encodes conversations. Neighbouring parts that are both targets, or both not, are one text for the tokenizer; it sees
// a boundary only between targets and other text. So the ids before a target are those of the prompt alone.
class ChatEncoder {
 public:
  // Both must outlive this. Checks the tokenizer (check_tokenizer()).
  ChatEncoder(const ChatTemplate& form, const Tokenizer& tokenizer);
  // Throws DataError as parts_of(), for what the tokenizer cannot encode, and if no token after the first is a target.
  TargetedTokens encode(const Conversation& conversation);

 private:
  const ChatTemplate& form_;
  const Tokenizer& tokenizer_;
  std::unique_ptr<Encoder> encoder_;  // between conversations; null at first
};

}  // namespace ropewalk

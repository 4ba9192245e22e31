// Conversations in JSON lines, to fine-tune on. Each line is one object,
//
//     {"prompt": "2 + 2 =", "completion": " 4"}
//     {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi!"}, ...]}
//
// The first form is a conversation of two messages, of the roles "prompt" and "completion". Other members of the line
// are ignored, but must be JSON. A message has exactly the members "role" and "content"; others must be null, because
// they would change what the message says.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

struct Message {
  std::string role, content;
  bool operator==(const Message&) const = default;
};
using Conversation = std::vector<Message>;  // at least one message; no content is empty

// Throws DataError, saying what is wrong, for a line that is no conversation.
Conversation conversation_in(std::string_view line);

}  // namespace ropewalk

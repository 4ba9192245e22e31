// The input is a line to fine-tune on. It is refused with a DataError; or it has at least one message, none is empty,
// and the line that is written from them reads as the same conversation.
#include <cstdint>

#include "kernels/error.h"
#include "trainer/data/conversation.h"
#include "trainer/formats/json_tree.h"
#include "trainer/text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ropewalk;
  Conversation conversation;
  try {
    conversation = conversation_in({reinterpret_cast<const char*>(data), size});
  } catch (const DataError&) {  // a clear refusal; any other exception is a fault
    return 0;
  }
  std::vector<JsonNode> messages;
  for (const Message& message : conversation) {
    CHECK(!message.content.empty() && is_utf8(message.content) && is_utf8(message.role), "a message of {} bytes",
          message.content.size());
    messages.push_back(JsonNode::object({{"role", JsonNode(message.role)}, {"content", JsonNode(message.content)}}));
  }
  const JsonNode line = JsonNode::object({{"messages", JsonNode::list(messages)}});
  CHECK(!conversation.empty() && conversation_in(json_text(line)) == conversation, "another conversation is read");
  return 0;
}

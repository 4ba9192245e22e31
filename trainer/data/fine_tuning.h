// Reads files of conversations (conversation.h), one a line, and encodes them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "trainer/data/chat_template.h"
#include "trainer/data/documents.h"

namespace ropewalk {

struct ConversationSink {
  std::function<void(const TargetedTokens& conversation)> add;
  std::function<void(int64_t bytes)> progress;  // bytes of the file read so far
};

// Reads one file of JSON lines. Blank lines are left out. Throws DataError, "FILE:LINE: what is wrong", for a line that
// is no conversation or that the template or the tokenizer cannot encode; with options.skip_bad_lines such a line is
// added to `skipped` instead.
void read_conversations(const std::string& file, const DocumentOptions& options, ChatEncoder& encoder,
                        const ConversationSink& sink, LeftOut& skipped);

}  // namespace ropewalk

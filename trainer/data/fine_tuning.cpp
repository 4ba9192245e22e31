#include "trainer/data/fine_tuning.h"

#include "kernels/error.h"
#include "trainer/data/document_readers.h"
#include "trainer/data/text_blocks.h"
#include "trainer/text/utf8.h"

namespace ropewalk {
namespace {

TargetedTokens encoded(std::string_view line, ChatEncoder& encoder) {
  if (!is_utf8(line)) throw DataError(describe_invalid_utf8(line));
  return encoder.encode(conversation_in(line));
}

}  // namespace

void read_conversations(const std::string& file, const DocumentOptions& options, ChatEncoder& encoder,
                        const ConversationSink& sink, LeftOut& skipped) {
  BadLines bad_lines(file, options.skip_bad_lines, skipped);
  TextBlocks blocks(file, TextBlocks::End::kLine, options.block_bytes);
  int64_t number = 0;
  for (std::string_view block = blocks.next(); !block.empty(); block = blocks.next()) {
    while (!block.empty()) {
      const std::string_view line = block.substr(0, block.find('\n'));
      block.remove_prefix(std::min(line.size() + 1, block.size()));
      ++number;
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      std::optional<TargetedTokens> conversation;
      try {
        conversation = encoded(line, encoder);
      } catch (const DataError& error) {
        bad_lines.report(number, error.what());
      }
      if (conversation) sink.add(*conversation);
    }
    sink.progress(blocks.position());
  }
}

}  // namespace ropewalk

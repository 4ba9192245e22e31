// Plain text: blocks of whole lines, checked for UTF-8, cut into documents at the separator.
#include <algorithm>

#include "trainer/data/document_readers.h"
#include "trainer/data/line_blocks.h"
#include "trainer/data/utf8.h"

namespace ropewalk {
namespace {

class DocumentSplitter {
 public:
  DocumentSplitter(const std::string& separator, const DocumentSink& sink) : separator_(separator), sink_(sink) {}

  void add(std::string_view text) {
    if (separator_.empty()) return piece(text);
    pending_ += text;
    std::string_view rest = pending_;
    for (size_t at = rest.find(separator_); at != std::string_view::npos; at = rest.find(separator_)) {
      piece(rest.substr(0, at));
      end_document();
      rest.remove_prefix(at + separator_.size());
    }
    const size_t kept = separator_begun_at_end_of(rest);
    piece(rest.substr(0, rest.size() - kept));
    pending_.erase(0, pending_.size() - kept);
  }

  void end() {
    piece(pending_);
    end_document();
  }

 private:
  void piece(std::string_view text) {
    if (text.empty()) return;
    sink_.piece(text);
    has_text_ = true;
  }

  void end_document() {
    if (has_text_) sink_.end();
    has_text_ = false;
  }

  // Bytes at the end of the text that may be the beginning of a separator.
  size_t separator_begun_at_end_of(std::string_view text) const {
    size_t length = std::min(separator_.size() - 1, text.size());
    while (!text.ends_with(std::string_view(separator_).substr(0, length))) --length;
    return length;
  }

  const std::string& separator_;
  const DocumentSink& sink_;
  std::string pending_;  // between calls: the beginning of a separator, perhaps
  bool has_text_ = false;
};

}  // namespace

void read_text(const std::string& file, const std::string& separator, const DocumentSink& sink, BadLines bad_lines) {
  LineBlocks blocks(file, LineBlocks::LongLines::kCut);
  DocumentSplitter splitter(separator, sink);
  int64_t line = 1;
  for (std::string_view block = blocks.next(); !block.empty(); block = blocks.next()) {
    if (is_utf8(block)) {
      splitter.add(block);
      line += std::count(block.begin(), block.end(), '\n');
    } else {
      while (!block.empty()) {
        const size_t newline = block.find('\n');
        const std::string_view text = block.substr(0, newline == std::string_view::npos ? newline : newline + 1);
        if (is_utf8(text)) {
          splitter.add(text);
        } else {
          bad_lines.report(line, describe_invalid_utf8(text));
        }
        line += newline != std::string_view::npos;
        block.remove_prefix(text.size());
      }
    }
    sink.progress(blocks.position());
  }
  splitter.end();
}

}  // namespace ropewalk

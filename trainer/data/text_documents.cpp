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
      ++separators_;
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

  int64_t separators() const { return separators_; }

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
  int64_t separators_ = 0;
};

// Where the reader stands in its file.
struct LinePosition {
  int64_t line = 1, bytes = 0;  // bytes of the line that were read

  void advance(std::string_view text) {
    const size_t newline = text.rfind('\n');
    line += std::count(text.begin(), text.end(), '\n');
    bytes = static_cast<int64_t>(text.size()) + (newline == text.npos ? bytes : -static_cast<int64_t>(newline) - 1);
  }
};

}  // namespace

int64_t read_text(const std::string& file, const std::string& separator, const DocumentSink& sink, BadLines bad_lines) {
  LineBlocks blocks(file, LineBlocks::LongLines::kCut);
  DocumentSplitter splitter(separator, sink);
  LinePosition position;
  for (std::string_view block = blocks.next(); !block.empty(); block = blocks.next()) {
    if (is_utf8(block)) {
      splitter.add(block);
      position.advance(block);
    } else {  // line by line, to drop or to name the bad ones
      while (!block.empty()) {
        const std::string_view line = block.substr(0, std::min(block.find('\n'), block.size() - 1) + 1);
        if (is_utf8(line)) {
          splitter.add(line);
        } else {
          bad_lines.report(position.line, describe_invalid_utf8(line, position.bytes));
        }
        position.advance(line);
        block.remove_prefix(line.size());
      }
    }
    sink.progress(blocks.position());
  }
  splitter.end();
  return splitter.separators();
}

}  // namespace ropewalk

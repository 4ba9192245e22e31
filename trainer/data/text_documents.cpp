// Plain text: read in blocks, checked for UTF-8, split into documents at the separator.
#include <algorithm>

#include "trainer/data/document_readers.h"
#include "trainer/data/json_scan.h"
#include "trainer/data/text_blocks.h"
#include "trainer/text/utf8.h"

namespace ropewalk {
namespace {

class DocumentSplitter {
 public:
  DocumentSplitter(const DocumentOptions& options, const DocumentSink& sink)
      : separator_(options.document_separator), block_bytes_(options.block_bytes), sink_(sink) {}

  void add(std::string_view text) {
    if (separator_.empty()) return piece(text);
    pending_ += text;
    split(pending_.size());
  }

  // Leaves out a line. Separators in it still count, also those that begin before it or end after it.
  void drop(std::string_view line) {
    if (separator_.empty()) return;
    const size_t kept = pending_.size();
    pending_ += line;
    split(kept);
  }

  void end() {
    piece(std::string_view(pending_).substr(dropped_));
    end_document();
  }

  int64_t separators() const { return separators_; }

 private:
  // Gives the bytes [dropped_, end) of pending_ to the sink, up to the beginning of what may be a separator. A dropped
  // line contains a byte that is not UTF-8, so no separator spans it, and dropped bytes that stay pending come first.
  void split(size_t end) {
    const std::string_view all = pending_;
    size_t begin = 0;
    const auto hand_over_to = [&](size_t to) {
      const size_t first = std::max(begin, dropped_), last = std::min(to, end);
      if (first < last) piece(all.substr(first, last - first));
      begin = to;
    };
    for (size_t at = all.find(separator_); at != std::string_view::npos; at = all.find(separator_, begin)) {
      hand_over_to(at);
      end_document();
      ++separators_;
      begin += separator_.size();
    }
    hand_over_to(all.size() - separator_begun_at_end_of(all.substr(begin)));
    dropped_ = end < all.size() ? all.size() - begin : dropped_ - std::min(dropped_, begin);
    pending_.erase(0, begin);
  }

  void piece(std::string_view text) {
    has_text_ = has_text_ || !text.empty();
    hand_over(text, block_bytes_, sink_);
  }

  void end_document() {
    if (has_text_) sink_.end();
    has_text_ = false;
  }

  // How many bytes at the end of the text may be the beginning of a separator.
  size_t separator_begun_at_end_of(std::string_view text) const {
    size_t length = std::min(separator_.size() - 1, text.size());
    while (!text.ends_with(std::string_view(separator_).substr(0, length))) --length;
    return length;
  }

  const std::string& separator_;
  size_t block_bytes_;
  const DocumentSink& sink_;
  std::string pending_;  // between calls: bytes that may begin a separator
  size_t dropped_ = 0;   // bytes at its beginning that belong to a dropped line
  bool has_text_ = false;
  int64_t separators_ = 0;
};

// The reader's position in its file.
struct LinePosition {
  int64_t line = 1, bytes = 0;  // bytes of the line read so far

  void advance(std::string_view text) {
    const size_t newline = text.rfind('\n');
    line += std::count(text.begin(), text.end(), '\n');
    bytes = static_cast<int64_t>(text.size()) + (newline == text.npos ? bytes : -static_cast<int64_t>(newline) - 1);
  }
};

// Whether the first line is a JSON object, as in a file of JSON lines.
bool begins_with_json_object(std::string_view text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  return line.starts_with('{') && line.size() > 2 && !scan_json(line, [](std::string_view, std::string_view) {});
}

}  // namespace

ReadFacts read_text(const std::string& file, const DocumentOptions& options, const DocumentSink& sink,
                    BadLines bad_lines) {
  // To drop a bad line, all of it must be seen before any of it is given to the sink, so blocks end after lines.
  TextBlocks blocks(file, bad_lines.skips() ? TextBlocks::End::kLine : TextBlocks::End::kCharacter,
                    options.block_bytes);
  DocumentSplitter splitter(options, sink);
  LinePosition position;
  ReadFacts facts;
  for (std::string_view block = blocks.next(); !block.empty(); block = blocks.next()) {
    if (position.line == 1 && position.bytes == 0) facts.is_json_too = begins_with_json_object(block);
    if (is_utf8(block)) {
      splitter.add(block);
      position.advance(block);
    } else {  // line by line, to drop or report the bad ones
      while (!block.empty()) {
        const std::string_view line = block.substr(0, std::min(block.find('\n'), block.size() - 1) + 1);
        if (is_utf8(line)) {
          splitter.add(line);
        } else {
          bad_lines.report(position.line, describe_invalid_utf8(line, position.bytes));
          splitter.drop(line);
        }
        position.advance(line);
        block.remove_prefix(line.size());
      }
    }
    sink.progress(blocks.position());
  }
  splitter.end();
  facts.separators = splitter.separators();
  return facts;
}

}  // namespace ropewalk

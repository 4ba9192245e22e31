// The readers behind read_documents(), one per format.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "trainer/data/documents.h"

namespace ropewalk {

// Reports bad lines: throws, or counts them if they are to be skipped.
class BadLines {
 public:
  BadLines(std::string file, bool skip, LeftOut& skipped) : file_(std::move(file)), skip_(skip), skipped_(skipped) {}
  bool skips() const { return skip_; }
  void report(int64_t line, const std::string& what);  // throws DataError unless skips()

 private:
  std::string file_;
  bool skip_;
  LeftOut& skipped_;
};

// "invalid UTF-8 at byte 3 of the line (0xff)". `text` must contain invalid UTF-8; it begins `bytes_before` bytes into
// its line.
std::string describe_invalid_utf8(std::string_view text, int64_t bytes_before = 0);

// Gives text of a document to `sink` in pieces of at most `block_bytes`.
void hand_over(std::string_view text, size_t block_bytes, const DocumentSink& sink);

ReadFacts read_text(const std::string& file, const DocumentOptions& options, const DocumentSink& sink,
                    BadLines bad_lines);
void read_json_lines(const std::string& file, const DocumentOptions& options, const DocumentSink& sink,
                     BadLines bad_lines);

}  // namespace ropewalk

// Documents of text out of files: plain text (a file is a document, or several between separators) and JSON lines (an
// object a line, its text under a key). Streamed: memory is bounded by a block of text or by the longest line of JSON.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

enum class InputFormat {
  kByExtension,
  kText,
  kJsonLines
};  // by extension: .jsonl and .json are JSON lines, all else text

struct DocumentOptions {
  InputFormat format = InputFormat::kByExtension;
  std::optional<std::string> json_key;  // of JSON lines: the member that holds the text; absent: "text"
  std::string document_separator;  // of text: a literal between documents, itself dropped; empty: a file is a document
  bool skip_bad_lines = false;     // drop lines that are not valid UTF-8 or JSON, and count them, instead of an error
};

// What the reader hands over. A document is one or more pieces of valid UTF-8, then its end; a piece is cut after a
// newline where there is one. Documents without text are left out.
struct DocumentSink {
  std::function<void(std::string_view piece)> piece;
  std::function<void()> end;
  std::function<void(int64_t bytes)> progress;  // bytes of the file that are done
};

struct SkippedLines {
  int64_t count = 0;
  std::vector<std::string> messages;  // of the first ten: file, line number, what was wrong
};

// The files that `inputs` name, in the order of `inputs`: a folder stands for all files below it, sorted by path,
// hidden ones left out; "-" stands for /dev/stdin. Throws DataError where one does not exist or cannot be listed.
std::vector<std::string> list_input_files(const std::vector<std::string>& inputs);

// kText or kJsonLines, whatever is asked. Throws DataError for a compressed file.
InputFormat format_of(const std::string& file, InputFormat asked);

// Reads one file, and returns how many separators it had. Throws DataError with file, line number and cause.
int64_t read_documents(const std::string& file, const DocumentOptions& options, const DocumentSink& sink,
                       SkippedLines& skipped);

}  // namespace ropewalk

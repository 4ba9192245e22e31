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
  // Drop lines that are not valid UTF-8 or JSON, and count them, instead of an error. Lines are then held in memory
  // whole, also those of text, up to TextBlocks::kMaxLineBytes.
  bool skip_bad_lines = false;
  // Bytes of a file that are read at a time, and of a document that are handed over at a time. Documents, and errors in
  // them, are the same for all values.
  static constexpr size_t kBlockBytes = size_t{1} << 20;
  size_t block_bytes = kBlockBytes;
};

// What the reader hands over. A document is one or more pieces, together valid UTF-8, then its end. Pieces have at most
// block_bytes and are cut anywhere, within characters too. Documents without text are left out.
struct DocumentSink {
  std::function<void(std::string_view piece)> piece;
  std::function<void()> end;
  std::function<void(int64_t bytes)> progress;  // bytes of the file that are done
};

// What was dropped, or not read.
struct LeftOut {
  static constexpr size_t kMessagesKept = 10;
  int64_t count = 0;
  std::vector<std::string> messages;  // of the first ten: file, line number, what was wrong
  void add(const std::string& message);
};

struct InputFiles {
  std::vector<std::string> files;
  LeftOut left_out;  // entries of folders
};

// The files that `inputs` name, in the order of `inputs`: a folder stands for all files below it, sorted by path,
// hidden ones left out; "-" stands for /dev/stdin. Links are followed. A file or folder that several paths below an
// input lead to is read once (an input that is named twice, twice); that, and what is no regular file, is told as left
// out. Throws DataError where one does not exist or cannot be listed, also for a link that leads nowhere.
InputFiles list_input_files(const std::vector<std::string>& inputs);

// kText or kJsonLines, whatever is asked.
InputFormat format_of(const std::string& file, InputFormat asked);

struct ReadFacts {
  int64_t separators = 0;    // that stood in a text file
  bool is_json_too = false;  // text by its extension alone, and its first line is a JSON object
};

// Reads one file. Throws DataError with file, line number and cause; for what is no text (file_kind.h); and for a file
// that changes meanwhile.
ReadFacts read_documents(const std::string& file, const DocumentOptions& options, const DocumentSink& sink,
                         LeftOut& skipped);

}  // namespace ropewalk

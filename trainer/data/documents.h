// Reads documents from files: plain text (one document per file, or several with a separator between them) and JSON
// lines (one object per line, with the text under a key). Streamed: memory is bounded by a block of text or by the
// longest line of JSON.
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
};  // by extension: .jsonl and .json are JSON lines, all others text

struct DocumentOptions {
  InputFormat format = InputFormat::kByExtension;
  std::optional<std::string> json_key;  // for JSON lines: the member with the text; absent: "text"
  std::string document_separator;       // for text: literal between documents, dropped; empty: one document per file
  // Drop and count lines that are not valid UTF-8 or JSON, instead of throwing. A line of text is then held in memory
  // as a whole, like a line of JSON, and may have at most TextBlocks::kMaxLineBytes.
  bool skip_bad_lines = false;
  // Bytes that are read from a file, and given to the sink, at a time. Documents and errors do not depend on it.
  static constexpr size_t kBlockBytes = size_t{1} << 20;
  size_t block_bytes = kBlockBytes;
};

// Receives the documents. A document is one or more calls of piece(), then end(). The pieces together are valid UTF-8.
// A piece has at most block_bytes and may be cut anywhere, even within a character. Documents without text are left
// out.
struct DocumentSink {
  std::function<void(std::string_view piece)> piece;
  std::function<void()> end;
  std::function<void(int64_t bytes)> progress;  // bytes of the file read so far
};

// Lines or files that were left out.
struct LeftOut {
  static constexpr size_t kMessagesKept = 10;
  int64_t count = 0;
  std::vector<std::string> messages;  // for the first ten: file, line number, what was wrong
  void add(const std::string& message);
};

struct InputFiles {
  std::vector<std::string> files;
  LeftOut left_out;  // entries of folders
};

// The files that `inputs` name, in the order of `inputs`. A folder stands for all files below it, sorted by path,
// without hidden ones; "-" stands for /dev/stdin. Links are followed. If several paths below an input folder lead to
// the same file or folder, it is read once. left_out lists the other paths, and entries that are not regular files. An
// input that is named twice is read twice. Throws DataError for an input that does not exist, a folder that cannot be
// listed, or a broken link.
InputFiles list_input_files(const std::vector<std::string>& inputs);

// kText or kJsonLines: `asked`, or for kByExtension the format by the file's extension.
InputFormat format_of(const std::string& file, InputFormat asked);

struct ReadFacts {
  int64_t separators = 0;    // found in a text file
  bool is_json_too = false;  // read as text because of its extension, but its first line is a JSON object
};

// Reads one file. Throws DataError for a bad line, with file, line number and cause; for a file that is not text
// (file_kind.h); and for a file that changes while it is read.
ReadFacts read_documents(const std::string& file, const DocumentOptions& options, const DocumentSink& sink,
                         LeftOut& skipped);

}  // namespace ropewalk

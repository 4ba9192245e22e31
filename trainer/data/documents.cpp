#include "trainer/data/documents.h"

#include <algorithm>

#include "kernels/error.h"
#include "trainer/data/document_readers.h"
#include "trainer/data/file_kind.h"
#include "trainer/data/input_stream.h"
#include "trainer/text/format.h"
#include "trainer/text/utf8.h"

namespace ropewalk {

InputFormat format_of(const std::string& file, InputFormat asked) {
  if (asked != InputFormat::kByExtension) return asked;
  const std::string extension = lower_extension(without_compression(file));
  return extension == ".jsonl" || extension == ".json" ? InputFormat::kJsonLines : InputFormat::kText;
}

void BadLines::report(int64_t line, const std::string& what) {
  const std::string message = fmt::format("{}:{}: {}", printable_name(file_), line, what);
  if (!skip_) throw DataError(message + "; correct it, or leave such lines out by --skip-bad-lines");
  skipped_.add(message);
}

std::string describe_invalid_utf8(std::string_view text, int64_t bytes_before) {
  const size_t at = first_invalid_utf8(text);
  CHECK(at < text.size(), "the text of {} bytes is valid", text.size());
  return fmt::format("invalid UTF-8 at byte {} of the line (0x{:02x})", bytes_before + static_cast<int64_t>(at) + 1,
                     static_cast<unsigned char>(text[at]));
}

void hand_over(std::string_view text, size_t block_bytes, const DocumentSink& sink) {
  for (; !text.empty(); text.remove_prefix(std::min(block_bytes, text.size()))) sink.piece(text.substr(0, block_bytes));
}

ReadFacts read_documents(const std::string& file, const DocumentOptions& options, const DocumentSink& sink,
                         LeftOut& skipped) {
  BadLines bad_lines(file, options.skip_bad_lines, skipped);
  if (format_of(file, options.format) == InputFormat::kJsonLines) {
    read_json_lines(file, options, sink, bad_lines);
    return {};
  }
  ReadFacts facts = read_text(file, options, sink, bad_lines);
  facts.is_json_too = facts.is_json_too && options.format == InputFormat::kByExtension;
  return facts;
}

}  // namespace ropewalk

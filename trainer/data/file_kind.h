// Recognizes files that are not UTF-8 text by their first bytes, whatever their names.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace ropewalk {

struct FileKind {
  std::string_view name, remedy;  // "compressed by gzip", "pipe it in: zcat FILE | ..."
};

inline constexpr size_t kKindBytes = 4096;  // examined at the beginning of a file

// Null for text, even for text that begins with the letters of a signature, such as "PK" or "BZh".
std::optional<FileKind> foreign_kind(std::string_view beginning);

// Throws DataError with the remedy if the file is not text.
void refuse_foreign(const std::string& file, std::string_view beginning);

// The extension of a file's name, such as ".jsonl", in lower case; "" if it has none.
std::string lower_extension(const std::string& file);

}  // namespace ropewalk

// What a file is that holds no UTF-8 text, told by its first bytes, whatever its name says.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace ropewalk {

struct FileKind {
  std::string_view name, remedy;  // "a gzip file", "pipe it in: zcat FILE | ..."
};

inline constexpr size_t kKindBytes = 4096;  // of a file's beginning, which tell

// Nothing for text, also for text that begins as another kind of file does.
std::optional<FileKind> foreign_kind(std::string_view beginning);

// Throws DataError for a file of another kind, with what to do.
void refuse_foreign(const std::string& file, std::string_view beginning);

}  // namespace ropewalk

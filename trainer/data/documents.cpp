#include "trainer/data/documents.h"

#include <algorithm>
#include <filesystem>

#include "kernels/error.h"
#include "trainer/data/document_readers.h"
#include "trainer/data/utf8.h"

namespace ropewalk {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMessagesKept = 10;

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

// A recursion of our own, because the library's does not say which folder it could not open.
void add_files_below(const fs::path& folder, std::vector<fs::path>& files) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code unknown;
    if (is_hidden(entry->path())) continue;
    if (entry->symlink_status(unknown).type() == fs::file_type::directory) {
      add_files_below(entry->path(), files);
    } else if (entry->is_regular_file(unknown)) {
      files.push_back(entry->path());
    }
  }
  if (error)
    throw DataError(fmt::format("cannot list {}: {}; give this user the permission", folder.string(), error.message()));
}

std::vector<std::string> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  add_files_below(folder, files);
  if (files.empty())
    throw DataError(fmt::format("{} is a folder without files; name one that has text", folder.string()));
  std::sort(files.begin(), files.end());
  return {files.begin(), files.end()};
}

}  // namespace

InputFormat format_of(const std::string& file, InputFormat asked) {
  std::string extension = fs::path(file).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
  for (const char* compressed : {".gz", ".zst", ".xz", ".bz2", ".zip"}) {
    if (extension == compressed) {
      throw DataError(fmt::format(
          "{} is compressed; decompress it first, or pipe it in: zcat FILE | ropewalk prepare --input -", file));
    }
  }
  if (asked != InputFormat::kByExtension) return asked;
  return extension == ".jsonl" || extension == ".json" ? InputFormat::kJsonLines : InputFormat::kText;
}

void BadLines::report(int64_t line, const std::string& what) {
  const std::string message = fmt::format("{}:{}: {}", file_, line, what);
  if (!skip_) throw DataError(message + "; correct it, or leave such lines out by --skip-bad-lines");
  if (++skipped_.count <= static_cast<int64_t>(kMessagesKept)) skipped_.messages.push_back(message);
}

std::string describe_invalid_utf8(std::string_view text, int64_t bytes_before) {
  const size_t at = first_invalid_utf8(text);
  CHECK(at < text.size(), "the text of {} bytes is valid", text.size());
  return fmt::format("invalid UTF-8 at byte {} of the line (0x{:02x})", bytes_before + static_cast<int64_t>(at) + 1,
                     static_cast<unsigned char>(text[at]));
}

std::vector<std::string> list_input_files(const std::vector<std::string>& inputs) {
  std::vector<std::string> files;
  for (const std::string& input : inputs) {
    if (input.empty()) throw ConfigurationError("the name of an --input is empty; name a file or a folder");
    if (input == "-") {
      files.push_back("/dev/stdin");
      continue;
    }
    std::error_code error;
    const fs::file_status status = fs::status(input, error);
    if (!fs::exists(status)) throw DataError(fmt::format("cannot read {}: {}; check the path", input, error.message()));
    if (fs::is_directory(status)) {
      const auto below = files_below(input);
      files.insert(files.end(), below.begin(), below.end());
    } else {
      files.push_back(input);
    }
  }
  return files;
}

int64_t read_documents(const std::string& file, const DocumentOptions& options, const DocumentSink& sink,
                       SkippedLines& skipped) {
  BadLines bad_lines(file, options.skip_bad_lines, skipped);
  if (format_of(file, options.format) == InputFormat::kText)
    return read_text(file, options.document_separator, sink, bad_lines);
  read_json_lines(file, options.json_key.value_or("text"), sink, bad_lines);
  return 0;
}

}  // namespace ropewalk

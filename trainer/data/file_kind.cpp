#include "trainer/data/file_kind.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "kernels/error.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kUnpack = "unpack it first";
constexpr std::string_view kIsData = "it is no text: name another --input";

struct Signature {
  std::string_view bytes;
  FileKind kind;
};

// Each contains a byte that text does not have: invalid UTF-8 or a control character.
constexpr Signature kSignatures[] = {
    {"\x1f\x8b\x08"sv, {"compressed again, by gzip", "pipe it in: zcat FILE | ropewalk prepare --input -"}},
    {"\x28\xb5\x2f\xfd"sv, {"compressed again, by zstd", "pipe it in: zstdcat FILE | ropewalk prepare --input -"}},
    {"\xfd"
     "7zXZ\0"sv,
     {"compressed by xz", "pipe it in: xzcat FILE | ropewalk prepare --input -"}},
    {"\x04\x22\x4d\x18"sv, {"compressed by lz4", "pipe it in: lz4cat FILE | ropewalk prepare --input -"}},
    {"PK\3\4"sv, {"a zip archive", "pipe its text in: unzip -p FILE | ropewalk prepare --input -"}},
    {"PK\5\6"sv, {"an empty zip archive", kIsData}},
    {"7z\xbc\xaf\x27\x1c"sv, {"a 7z archive", kUnpack}},
    {"Rar!\x1a\x07"sv, {"a rar archive", kUnpack}},
    {"PAR1\x15"sv,
     {"a Parquet file",
      "make JSON lines of it, in Python: pandas.read_parquet(FILE).to_json(OUT, orient='records', lines=True)"}},
    {"ARROW1\0\0"sv,
     {"an Arrow file",
      "make JSON lines of it, in Python: pandas.read_feather(FILE).to_json(OUT, orient='records', "
      "lines=True)"}},
    {"SQLite format 3\0"sv, {"an SQLite database", "query its text as JSON lines"}},
    {"\x89HDF\r\n\x1a\n"sv, {"an HDF5 file", kIsData}},
    {"\x93NUMPY"sv, {"a NumPy array", kIsData}},
    {"MMIDIDX\0\0"sv, {"the index of a dataset that is prepared already", "name it in data.prefix"}},
    {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"sv, {"an Office document", "save it as text"}},
    {"\x89PNG\r\n\x1a\n"sv, {"a picture", kIsData}},
    {"\xff\xd8\xff"sv, {"a picture", kIsData}},
    {"\x7f"
     "ELF"sv,
     {"a program", kIsData}},
    {"\xff\xfe\0\0"sv, {"UTF-32 text", "convert it: iconv -f UTF-32 -t UTF-8 FILE"}},
    {"\0\0\xfe\xff"sv, {"UTF-32 text", "convert it: iconv -f UTF-32 -t UTF-8 FILE"}},
    {"\xff\xfe"sv, {"UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8 FILE"}},
    {"\xfe\xff"sv, {"UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8 FILE"}},
};

bool digit_at(std::string_view text, size_t at) {
  return at < text.size() && std::isdigit(static_cast<unsigned char>(text[at]));
}

// "BZh9", then the digits of pi; or, in an empty archive, those of its square root.
bool is_bzip2(std::string_view text) {
  if (!text.starts_with("BZh") || !digit_at(text, 3)) return false;
  const std::string_view rest = text.substr(4);
  return rest.starts_with("\x31\x41\x59\x26\x53\x59") || rest.starts_with("\x17\x72\x45\x38\x50\x90");
}

// "%PDF-1.4" as the first line.
bool is_pdf(std::string_view text) {
  return text.starts_with("%PDF-") && digit_at(text, 5) && text.substr(6, 1) == "." && digit_at(text, 7) &&
         (text.substr(8, 1) == "\n" || text.substr(8, 1) == "\r");
}

// The first entry's header: a name padded with NULs, and a magic word.
bool is_tar(std::string_view text) {
  return text.size() > 512 && text.substr(257, 5) == "ustar" && text.find('\0') < 257;
}

// A marker, then the length of the schema: some kilobytes, so its highest byte is 0.
bool is_arrow_stream(std::string_view text) {
  return text.size() > 7 && text.starts_with("\xff\xff\xff\xff") && text[7] == '\0';
}

// The fraction of the bytes begin, begin + step, ... that are below 8. Text has no such control characters, but they
// are the upper bytes of most alphabets' characters in UTF-16 and UTF-32.
double share_of_low_bytes(std::string_view text, size_t begin, size_t step) {
  size_t low = 0, count = 0;
  for (size_t i = begin; i < text.size(); i += step, ++count) low += static_cast<unsigned char>(text[i]) < 8;
  return count == 0 ? 0 : static_cast<double>(low) / static_cast<double>(count);
}

// UTF-16 or UTF-32 without a byte order mark.
std::optional<FileKind> wide_text(std::string_view text) {
  constexpr size_t kFewestBytes = 8;
  constexpr double kMost = 0.9, kFew = 0.1;
  if (text.size() < kFewestBytes) return std::nullopt;
  const auto low = [&](size_t begin, size_t step) { return share_of_low_bytes(text, begin, step); };
  if (low(3, 4) > kMost && low(2, 4) > kMost && low(0, 4) < kFew)
    return FileKind{"UTF-32 text, it seems", "convert it: iconv -f UTF-32LE -t UTF-8 FILE"};
  if (low(0, 4) > kMost && low(1, 4) > kMost && low(3, 4) < kFew)
    return FileKind{"UTF-32 text, it seems", "convert it: iconv -f UTF-32BE -t UTF-8 FILE"};
  if (low(1, 2) > kMost && low(0, 2) < kFew)
    return FileKind{"UTF-16 text, it seems", "convert it: iconv -f UTF-16LE -t UTF-8 FILE"};
  if (low(0, 2) > kMost && low(1, 2) < kFew)
    return FileKind{"UTF-16 text, it seems", "convert it: iconv -f UTF-16BE -t UTF-8 FILE"};
  return std::nullopt;
}

}  // namespace

std::optional<FileKind> foreign_kind(std::string_view beginning) {
  const auto* found = std::find_if(std::begin(kSignatures), std::end(kSignatures),
                                   [&](const Signature& signature) { return beginning.starts_with(signature.bytes); });
  if (found != std::end(kSignatures)) return found->kind;
  if (is_bzip2(beginning))
    return FileKind{"compressed by bzip2", "pipe it in: bzcat FILE | ropewalk prepare --input -"};
  if (is_pdf(beginning)) return FileKind{"a PDF document", "extract its text: pdftotext FILE"};
  if (is_arrow_stream(beginning))
    return FileKind{"an Arrow stream",
                    "make JSON lines of it, in Python: datasets.Dataset.from_file(FILE).to_json(OUT)"};
  if (is_tar(beginning)) return FileKind{"a tar archive", kUnpack};
  return wide_text(beginning.substr(0, kKindBytes));
}

std::string lower_extension(const std::string& file) {
  std::string extension = std::filesystem::path(file).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
  return extension;
}

void refuse_foreign(const std::string& file, std::string_view beginning) {
  if (const auto kind = foreign_kind(beginning))
    throw DataError(
        fmt::format("{} is {}, and only UTF-8 text can be read; {}", printable_name(file), kind->name, kind->remedy));
}

}  // namespace ropewalk

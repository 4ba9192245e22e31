#include "trainer/tokenizer/make_tokenizer.h"

#include <filesystem>

#include "kernels/error.h"
#include "trainer/files/input_file.h"
#include "trainer/text/format.h"
#include "trainer/tokenizer/bpe_tokenizer.h"

namespace ropewalk {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBytes = "bytes";
constexpr int64_t kLargest = int64_t{1} << 30;  // bytes of a tokenizer.json

std::string read(const fs::path& path) { return read_text(real_file_system(FileOwner::kData), path, kLargest); }

// Runs `parse`, and adds the name of the file that it parses to its errors.
auto naming(const fs::path& path, const auto& parse) {
  try {
    return parse();
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: {}", printable_name(path.string()), error.what()));
  }
}

std::string end_of_document_beside(const fs::path& file) {
  const fs::path config = file.parent_path() / "tokenizer_config.json";
  std::error_code error;
  if (!fs::exists(config, error)) return "";
  const std::string json = read(config);
  return naming(config, [&] { return end_of_document_in(json); });
}

// The tokenizer.json that `name` stands for; empty if it is none.
fs::path file_of(const std::string& name) {
  std::error_code error;
  fs::path path = name;
  if (fs::is_directory(path, error)) path /= "tokenizer.json";
  return fs::exists(path, error) ? path : fs::path();
}

}  // namespace

std::string tokenizer_choices() {
  return "bytes (the 256 bytes and the end of a document, 257 tokens), or a tokenizer.json of Hugging Face's "
         "tokenizers "
         "(byte-level BPE), or its directory";
}

LoadedTokenizer load_tokenizer(const std::string& name, const std::optional<std::string>& end_of_document) {
  if (name == kBytes) {
    if (end_of_document)
      throw ConfigurationError(
          fmt::format("the tokenizer '{}' has its own end of a document; leave out '{}'", name, *end_of_document));
    return {make_byte_tokenizer(), std::nullopt};
  }
  const fs::path path = file_of(name);
  if (path.empty()) {
    throw ConfigurationError(
        fmt::format("tokenizer '{}' is not known and no such file exists; choose 'bytes', or the path of a "
                    "tokenizer.json or of its directory",
                    printable_name(name)));
  }
  const std::string end = end_of_document ? *end_of_document : end_of_document_beside(path);
  std::string json = read(path);
  auto tokenizer =
      naming(path, [&] { return make_bpe_tokenizer(parse_tokenizer_file(json), path.filename().string(), end); });
  return {std::move(tokenizer), std::move(json)};
}

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name, const std::optional<std::string>& end_of_document) {
  return load_tokenizer(name, end_of_document).tokenizer;
}

}  // namespace ropewalk

#include "trainer/tokenizer/tokenizer.h"

#include <algorithm>

#include "kernels/error.h"

namespace ropewalk {

void ByteTokenizer::encode(std::string_view text, std::vector<int32_t>& ids) const {
  const size_t end = ids.size();
  ids.resize(end + text.size());
  std::transform(text.begin(), text.end(), ids.begin() + static_cast<std::ptrdiff_t>(end),
                 [](char byte) { return static_cast<unsigned char>(byte); });
}

std::string ByteTokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  text.reserve(ids.size());
  for (const int32_t id : ids) {
    if (id >= 0 && id < 256) {
      text += static_cast<char>(id);
    } else if (id != end_of_document()) {
      text += "\xEF\xBF\xBD";
    }
  }
  return text;
}

std::unique_ptr<Tokenizer> make_tokenizer(std::string_view name) {
  if (name == "bytes") return std::make_unique<ByteTokenizer>();
  throw ConfigurationError(fmt::format("tokenizer '{}' is not known; choose 'bytes'", name));
}

}  // namespace ropewalk

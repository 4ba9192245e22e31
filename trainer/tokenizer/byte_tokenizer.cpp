// Ids 0..255 are the bytes of the text; 256 ends a document, and no text spells it.
#include <algorithm>

#include "trainer/tokenizer/make_tokenizer.h"

namespace ropewalk {
namespace {

constexpr int32_t kEndOfDocument = 256;

// Holds nothing back: the id of a byte does not depend on the bytes that follow.
class ByteEncoder : public Encoder {
 public:
  void append(std::string_view piece, AddedTokens, std::vector<int32_t>& ids) override {
    const size_t end = ids.size();
    ids.resize(end + piece.size());
    std::transform(piece.begin(), piece.end(), ids.begin() + static_cast<std::ptrdiff_t>(end),
                   [](char byte) { return static_cast<unsigned char>(byte); });
  }
  void finish(std::vector<int32_t>&) override {}
};

class ByteTokenizer : public Tokenizer {
 public:
  std::unique_ptr<Encoder> make_encoder() const override { return std::make_unique<ByteEncoder>(); }

  std::string decode(std::span<const int32_t> ids, Special) const override {
    std::string text;
    text.reserve(ids.size());
    for (const int32_t id : ids) {
      if (id >= 0 && id < kEndOfDocument) {
        text += static_cast<char>(id);
      } else if (id != kEndOfDocument) {
        text += "\xEF\xBF\xBD";
      }
    }
    return text;
  }

  int64_t vocabulary_size() const override { return kEndOfDocument + 1; }
  std::optional<int32_t> end_of_document() const override { return kEndOfDocument; }
  std::optional<int32_t> added_token(std::string_view) const override { return std::nullopt; }
  Template special_ids() const override { return {}; }
  TokenizerIdentity identity() const override { return {.name = "bytes", .hash = "", .vocabulary = vocabulary_size()}; }
};

}  // namespace

std::unique_ptr<Tokenizer> make_byte_tokenizer() { return std::make_unique<ByteTokenizer>(); }

}  // namespace ropewalk

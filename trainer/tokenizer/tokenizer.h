// Text to token ids and back.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // Appends the ids of `text`, valid UTF-8, to `ids`. A long document comes in pieces (trainer/data/documents.h).
  virtual void encode(std::string_view text, std::vector<int32_t>& ids) const = 0;
  // The bytes that the ids stand for, perhaps cut within a character; nothing for end_of_document(), U+FFFD for an id
  // beyond the vocabulary (a model may have more rows than its tokenizer has tokens).
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
  virtual int64_t vocabulary_size() const = 0;  // ids are in [0, vocabulary_size())
  virtual int32_t end_of_document() const = 0;  // the id that ends every document, and belongs to it
};

// Ids 0..255 are the bytes of the text; 256 ends a document.
class ByteTokenizer : public Tokenizer {
 public:
  void encode(std::string_view text, std::vector<int32_t>& ids) const override;
  std::string decode(std::span<const int32_t> ids) const override;
  int64_t vocabulary_size() const override { return 257; }
  int32_t end_of_document() const override { return 256; }
};

// "bytes". Throws ConfigurationError for another name, with the choices.
std::unique_ptr<Tokenizer> make_tokenizer(std::string_view name);

}  // namespace ropewalk

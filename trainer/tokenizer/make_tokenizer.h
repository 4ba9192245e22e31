// The available tokenizers, by name.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "trainer/tokenizer/tokenizer.h"

namespace ropewalk {

std::unique_ptr<Tokenizer> make_byte_tokenizer();

struct TokenizerKind {
  std::string_view name, summary;  // summary: for help texts
  std::unique_ptr<Tokenizer> (*make)();
};
inline constexpr TokenizerKind kTokenizerKinds[] = {
    {"bytes", "the 256 bytes and the end of a document, 257 tokens", make_byte_tokenizer}};

// end_of_document: the text of the added token that ends a document, if the tokenizer's own is absent or not wanted.
// Throws ConfigurationError, with the choices, for an unknown name, and for an end_of_document that is not a token.
std::unique_ptr<Tokenizer> make_tokenizer(std::string_view name,
                                          const std::optional<std::string>& end_of_document = {});

// All names and summaries, for a help text: "bytes: the 256 bytes and the end of a document, 257 tokens".
std::string tokenizer_choices();

}  // namespace ropewalk

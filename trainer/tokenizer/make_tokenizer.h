// The tokenizers that there are, by the names under which users ask for them.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "trainer/tokenizer/tokenizer.h"

namespace ropewalk {

std::unique_ptr<Tokenizer> make_byte_tokenizer();

struct TokenizerKind {
  std::string_view name, summary;  // the summary as a help text shows it
  std::unique_ptr<Tokenizer> (*make)();
};
inline constexpr TokenizerKind kTokenizerKinds[] = {
    {"bytes", "the 256 bytes and the end of a document, 257 tokens", make_byte_tokenizer}};

// Throws ConfigurationError for a name that is not among them, with the choices.
std::unique_ptr<Tokenizer> make_tokenizer(std::string_view name);

// "bytes: the 256 bytes and the end of a document, 257 tokens", one after the other: for a help text.
std::string tokenizer_choices();

}  // namespace ropewalk

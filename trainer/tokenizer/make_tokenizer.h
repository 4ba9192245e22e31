// The available tokenizers, by name.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "trainer/tokenizer/tokenizer.h"

namespace ropewalk {

// name: "bytes", for the 256 bytes and the end of a document; or a tokenizer.json (a path, or the directory that holds
// it). end_of_document: the text of the added token that ends a document, or empty for none; if it is not given,
// "eos_token" of a tokenizer_config.json beside the file is. Throws ConfigurationError, with the choices, for a name
// that is neither, and for an end_of_document that is not a token; DataError for a file that is damaged or not
// supported.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name,
                                          const std::optional<std::string>& end_of_document = {});

// The same, with the text of the tokenizer.json as it was read, for a copy beside the data; nullopt for "bytes".
struct LoadedTokenizer {
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<std::string> file;
};
LoadedTokenizer load_tokenizer(const std::string& name, const std::optional<std::string>& end_of_document = {});

std::unique_ptr<Tokenizer> make_byte_tokenizer();

// For a help text: which names there are.
std::string tokenizer_choices();

}  // namespace ropewalk

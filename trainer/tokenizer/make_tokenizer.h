// The available tokenizers, by name.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "trainer/tokenizer/tokenizer.h"

namespace ropewalk {

inline constexpr int64_t kLargestTokenizerFile = int64_t{1} << 30;  // bytes

// name: "bytes", for the 256 bytes and the end of a document; or a tokenizer.json (a path, or the directory that holds
// it). end_of_document: the text of the added token that ends a document; if it is not given, "eos_token" of a
// tokenizer_config.json beside the file is. Throws ConfigurationError, with the choices, for a name that is neither,
// and for an end_of_document that is not a token; DataError for a file that is damaged or not supported.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name,
                                          const std::optional<std::string>& end_of_document = {});

std::unique_ptr<Tokenizer> make_byte_tokenizer();

// The path of the tokenizer.json that `name` stands for; empty if that is none.
std::string tokenizer_file_of(const std::string& name);

// For a help text: which names there are.
std::string tokenizer_choices();

}  // namespace ropewalk

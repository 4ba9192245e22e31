// A tokenizer of a tokenizer.json. A text passes through four stages, each of which holds back what is not certain yet:
//
//   added tokens in raw text -> normalizer -> added tokens in normalized text -> pre-tokens -> merges
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "trainer/tokenizer/tokenizer.h"
#include "trainer/tokenizer/tokenizer_file.h"

namespace ropewalk {

// name: of the file, for identity(). end_of_document: the text of a token; empty: the tokenizer has none. Throws
// DataError for a regular expression that is not supported, ConfigurationError if end_of_document is no token.
std::unique_ptr<Tokenizer> make_bpe_tokenizer(const TokenizerFile& file, std::string name,
                                              const std::string& end_of_document);

}  // namespace ropewalk

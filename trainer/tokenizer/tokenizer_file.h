// The contents of a tokenizer.json of Hugging Face's tokenizers: byte-level byte-pair encoding. Every key is used, is
// without effect on ids, or is refused by name and value.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "trainer/tokenizer/added_tokens.h"
#include "trainer/tokenizer/merges.h"
#include "trainer/tokenizer/pre_tokenizer.h"
#include "trainer/tokenizer/tokenizer.h"

namespace ropewalk {

struct TokenizerFile {
  struct Token {
    std::string bytes;         // what decode() writes
    bool is_of_model = false;  // the model can give it; false: only an added token can
  };
  std::vector<Token> tokens;  // by id: those of the model, then the added ones beyond it
  std::vector<Merge> merges;
  bool ignore_merges = false;     // a pre-token that is a token needs no merges
  std::vector<AddedToken> added;  // by id
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  Tokenizer::Template special_ids;
};

// Throws DataError with the place in the file, what is wrong, and a remedy where there is one.
TokenizerFile parse_tokenizer_file(std::string_view json);

// XXH3-128 of all that ids depend on, in hexadecimal: not of white space, the order of keys, or how merges are written.
std::string hash_of(const TokenizerFile& file);

// "eos_token" of a tokenizer_config.json; empty if it has none. Throws DataError if the text is not such a file.
std::string end_of_document_in(std::string_view tokenizer_config_json);

}  // namespace ropewalk

// Writes a learnt encoding as the files that Hugging Face's tokenizers and transformers load.
#pragma once

#include <string>
#include <vector>

#include "trainer/tokenizer/learn_merges.h"
#include "trainer/tokenizer/scanner.h"

namespace ropewalk {

// The text of a tokenizer.json. The first tokens of `encoding` are the special ones.
std::string tokenizer_json(const LearntEncoding& encoding, const std::vector<std::string>& special_tokens,
                           Scanner scanner);
// The text of the tokenizer_config.json beside it, which says what ends a document.
std::string tokenizer_config_json(const std::string& end_of_document);

}  // namespace ropewalk

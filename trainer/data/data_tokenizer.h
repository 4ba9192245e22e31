// The tokenizer of a run: the one that made its data.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/tokenizer/tokenizer.h"

namespace ropewalk {

// What a checkpoint remembers of it.
struct TokenizerOfData {
  TokenizerIdentity identity;
  std::optional<int32_t> end_of_document;  // nullopt: not known
  bool operator==(const TokenizerOfData&) const = default;
};

struct DataTokenizer {
  std::optional<TokenizerOfData> made_by;  // nullopt: neither the data nor data.tokenizer say which one it was
  std::shared_ptr<const Tokenizer> text;   // null: text cannot be shown, or need not (data.tokenizer is "none")
};

// Of all stages. The tokenizer is data.tokenizer or, if that is not set, the one that the datasets remember
// (dataset_facts.h): "bytes", or PREFIX.tokenizer.json. Data that another program wrote remember none, and are believed
// to fit data.tokenizer. Throws DataError if datasets remember different tokenizers, or another one than
// data.tokenizer; ConfigurationError if the tokenizer has more tokens than the model.
DataTokenizer open_data_tokenizer(const Config& config);

// Throws ConfigurationError if the run is to show text (validation.sample_tokens), but `tokenizer` cannot.
void check_shows_text(const DataTokenizer& tokenizer, const Config& config);

// "tokenizer.json (32000 tokens, hash 6f0c2a51)", for messages.
std::string tokenizer_text(const TokenizerIdentity& tokenizer);

// Throws DataError unless both are the same tokenizer and the same end of a document, as far as they are known.
// `before` and `now` say whose they are: "the checkpoint runs/a/checkpoints/step-00000008", "the data".
void check_same_tokenizer(const std::optional<TokenizerOfData>& a, const std::string& before,
                          const std::optional<TokenizerOfData>& b, const std::string& now, const std::string& remedy);

}  // namespace ropewalk

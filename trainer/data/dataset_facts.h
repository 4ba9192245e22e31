// PREFIX.dataset.json, which `ropewalk prepare` writes beside the index: what Megatron's format has no place for.
//
//     {"format": "ropewalk dataset", "version": 1,
//      "tokenizer": {"name": "tokenizer.json", "hash": "6f0c...", "vocabulary": 50257, "end_of_document": 50256}}
//
// If the tokenizer is a file, a copy of it is PREFIX.tokenizer.json, so that a dataset can be moved as a whole.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "trainer/tokenizer/tokenizer.h"

namespace ropewalk {

struct DatasetFacts {
  TokenizerIdentity tokenizer;
  int32_t end_of_document = 0;
};

std::string to_json(const DatasetFacts& facts);
// `name` is for messages. Throws DataError for a text that is not such facts.
DatasetFacts dataset_facts_in(std::string_view json, const std::string& name);
// Of a dataset on disk; nullopt if it has no such file, because another program wrote it.
std::optional<DatasetFacts> read_dataset_facts(const std::string& prefix);

}  // namespace ropewalk

#include "trainer/data/dataset_facts.h"

#include <filesystem>
#include <limits>

#include "kernels/error.h"
#include "trainer/files/input_file.h"
#include "trainer/formats/json_tree.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr const char* kFormat = "ropewalk dataset";
constexpr int64_t kVersion = 1, kLargest = 1 << 20;  // bytes of the file

const JsonNode& member(const JsonNode& object, const char* key, JsonNode::Kind kind) {
  const JsonNode* found = object.kind == JsonNode::Kind::kObject ? object.find(key) : nullptr;
  if (!found || found->kind != kind) throw DataError(fmt::format("\"{}\" is missing or has the wrong type", key));
  return *found;
}

int64_t whole(const JsonNode& object, const char* key, int64_t limit) {
  const int64_t value = member(object, key, JsonNode::Kind::kWhole).whole;
  if (value < 0 || value > limit)
    throw DataError(fmt::format("\"{}\" is {}; it must be in [0, {}]", key, value, limit));
  return value;
}

DatasetFacts facts_of(const JsonNode& root) {
  if (member(root, "format", JsonNode::Kind::kText).text != kFormat)
    throw DataError(fmt::format("\"format\" is not \"{}\"", kFormat));
  if (const int64_t version = whole(root, "version", std::numeric_limits<int64_t>::max()); version != kVersion)
    throw DataError(fmt::format("\"version\" is {}; this program reads {}", version, kVersion));
  const JsonNode& tokenizer = member(root, "tokenizer", JsonNode::Kind::kObject);
  DatasetFacts facts;
  facts.tokenizer.name = member(tokenizer, "name", JsonNode::Kind::kText).text;
  facts.tokenizer.hash = member(tokenizer, "hash", JsonNode::Kind::kText).text;
  facts.tokenizer.vocabulary = whole(tokenizer, "vocabulary", std::numeric_limits<int32_t>::max());
  facts.end_of_document = static_cast<int32_t>(whole(tokenizer, "end_of_document", facts.tokenizer.vocabulary - 1));
  return facts;
}

}  // namespace

std::string to_json(const DatasetFacts& facts) {
  return indented_json_text(JsonNode::object(
      {{"format", JsonNode(kFormat)},
       {"version", JsonNode(kVersion)},
       {"tokenizer", JsonNode::object({{"name", JsonNode(facts.tokenizer.name)},
                                       {"hash", JsonNode(facts.tokenizer.hash)},
                                       {"vocabulary", JsonNode(facts.tokenizer.vocabulary)},
                                       {"end_of_document", JsonNode(int64_t{facts.end_of_document})}})}}));
}

DatasetFacts dataset_facts_in(std::string_view json, const std::string& name) {
  try {
    return facts_of(parse_json(json));
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: {}; prepare the data again", printable_name(name), error.what()));
  }
}

std::optional<DatasetFacts> read_dataset_facts(const std::string& prefix) {
  const std::string name = prefix + ".dataset.json";
  std::error_code error;
  if (std::filesystem::symlink_status(name, error).type() == std::filesystem::file_type::not_found) return std::nullopt;
  return dataset_facts_in(read_text(real_file_system(FileOwner::kData), name, kLargest), name);
}

}  // namespace ropewalk

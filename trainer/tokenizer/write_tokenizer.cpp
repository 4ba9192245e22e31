#include "trainer/tokenizer/write_tokenizer.h"

#include "trainer/formats/json_tree.h"
#include "trainer/tokenizer/byte_alphabet.h"

namespace ropewalk {
namespace {

JsonNode object(std::vector<JsonNode::Member> members) { return JsonNode::object(std::move(members)); }

JsonNode byte_level(bool use_regex) {
  return object({{"type", JsonNode("ByteLevel")},
                 {"add_prefix_space", JsonNode(false)},
                 {"trim_offsets", JsonNode(true)},
                 {"use_regex", JsonNode(use_regex)}});
}

JsonNode pre_tokenizer(Scanner scanner) {
  if (scanner == Scanner::kGpt2) return byte_level(true);
  const JsonNode first = scanner == Scanner::kCommandR
                             ? object({{"type", JsonNode("Digits")}, {"individual_digits", JsonNode(true)}})
                             : object({{"type", JsonNode("Split")},
                                       {"pattern", object({{"Regex", JsonNode(std::string(pattern_of(scanner)))}})},
                                       {"behavior", JsonNode("Isolated")},
                                       {"invert", JsonNode(false)}});
  return object({{"type", JsonNode("Sequence")},
                 {"pretokenizers", JsonNode::list({first, byte_level(scanner == Scanner::kCommandR)})}});
}

JsonNode added_token(const std::string& content, size_t id) {
  return object({{"id", JsonNode(static_cast<int64_t>(id))},
                 {"content", JsonNode(content)},
                 {"single_word", JsonNode(false)},
                 {"lstrip", JsonNode(false)},
                 {"rstrip", JsonNode(false)},
                 {"normalized", JsonNode(false)},
                 {"special", JsonNode(true)}});
}

JsonNode model(const LearntEncoding& encoding, size_t special_tokens) {
  std::vector<std::string> texts;
  JsonNode vocabulary = JsonNode::object(), merges = JsonNode::list({});
  for (size_t id = 0; id < encoding.tokens.size(); ++id) {
    texts.push_back(id < special_tokens ? encoding.tokens[id] : letters_of_bytes(encoding.tokens[id]));
    vocabulary.members.emplace_back(texts.back(), JsonNode(static_cast<int64_t>(id)));
  }
  for (const Merge& merge : encoding.merges)
    merges.items.push_back(JsonNode::list(
        {JsonNode(texts[static_cast<size_t>(merge.left)]), JsonNode(texts[static_cast<size_t>(merge.right)])}));
  return object({{"type", JsonNode("BPE")},
                 {"dropout", {}},
                 {"unk_token", {}},
                 {"continuing_subword_prefix", {}},
                 {"end_of_word_suffix", {}},
                 {"fuse_unk", JsonNode(false)},
                 {"byte_fallback", JsonNode(false)},
                 {"ignore_merges", JsonNode(false)},
                 {"vocab", std::move(vocabulary)},
                 {"merges", std::move(merges)}});
}

}  // namespace

std::string tokenizer_json(const LearntEncoding& encoding, const std::vector<std::string>& special_tokens,
                           Scanner scanner) {
  JsonNode added = JsonNode::list({});
  for (size_t id = 0; id < special_tokens.size(); ++id) added.items.push_back(added_token(special_tokens[id], id));
  return indented_json_text(object({{"version", JsonNode("1.0")},
                                    {"truncation", {}},
                                    {"padding", {}},
                                    {"added_tokens", std::move(added)},
                                    {"normalizer", {}},
                                    {"pre_tokenizer", pre_tokenizer(scanner)},
                                    {"post_processor", {}},
                                    {"decoder", byte_level(true)},
                                    {"model", model(encoding, special_tokens.size())}}));
}

std::string tokenizer_config_json(const std::string& end_of_document) {
  return indented_json_text(object({{"tokenizer_class", JsonNode("PreTrainedTokenizerFast")},
                                    {"eos_token", JsonNode(end_of_document)},
                                    {"clean_up_tokenization_spaces", JsonNode(false)}}));
}

}  // namespace ropewalk

// A small tokenizer.json for tests to change: the 256 bytes, a few merges, two added tokens.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "trainer/tokenizer/bpe_tokenizer.h"
#include "trainer/tokenizer/byte_alphabet.h"

namespace ropewalk {

using Json = nlohmann::ordered_json;

// Ids 0 to 255 are the bytes. Merges: "th", "the", " the", "  ". Added: <s>, special, and "[X]", which is not.
inline Json small_tokenizer() {
  Json vocabulary = Json::object();
  for (int byte = 0; byte < 256; ++byte) vocabulary[letter_of(static_cast<uint8_t>(byte))] = byte;
  const std::string space = letter_of(' ');
  int next = 256;
  for (const std::string& token : {std::string("th"), std::string("the"), space + "the", space + space})
    vocabulary[token] = next++;
  const auto added = [](int id, const char* content, bool special) {
    return Json{{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", special}};
  };
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", {added(260, "<s>", true), added(261, "[X]", false)}},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocabulary},
            {"merges", Json::array({Json::array({"t", "h"}), Json::array({"th", "e"}), Json::array({space, "the"}),
                                    Json::array({space, space})})}}}};
}

inline std::unique_ptr<Tokenizer> tokenizer_of(const Json& json, const std::string& end_of_document = "") {
  return make_bpe_tokenizer(parse_tokenizer_file(json.dump()), "tokenizer.json", end_of_document);
}

}  // namespace ropewalk

// The input is a tokenizer.json; its vocabulary gets the 256 bytes as the ids from 0, without which it would be refused
// almost always. It is refused with a DataError; or the tokenizer gives ids of its vocabulary that do
// not depend on how a text is cut, and, unless a step changes text, these ids spell the text again. No block of memory
// is much larger than the file.
#include <algorithm>
#include <cstdint>
#include <optional>

#include "kernels/error.h"
#include "tests/fuzz/largest_block.h"
#include "trainer/tokenizer/bpe_tokenizer.h"
#include "trainer/tokenizer/byte_alphabet.h"

namespace ropewalk {
namespace {

constexpr std::string_view kTexts[] = {"",
                                       "a",
                                       "the theory  of\n\nit's 1234 \t x",
                                       "e\u0301\u00e9 \u212b\u3000\u6f22 ",
                                       "<s><s> <s>x</s>",
                                       "a  <s>\u3000b\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n<s> the",
                                       "   ",
                                       "ab\u0300\u0301\U0001F642'S\u2028"};

std::string with_bytes(std::string_view json) {
  constexpr std::string_view kVocabulary = "\"vocab\":{";
  std::string out(json);
  const size_t found = out.find(kVocabulary);
  if (found == out.npos) return out;
  const size_t begin = found + kVocabulary.size();
  std::string letters;
  for (int byte = 0; byte < 256; ++byte) {
    const char* escape = byte == '"' || byte == '\\' ? "\\" : "";
    letters += fmt::format("{}\"{}{}\":{}", byte == 0 ? "" : ",", escape, letter_of(static_cast<uint8_t>(byte)), byte);
  }
  return out.insert(begin, letters + (out[begin] == '}' ? "" : ","));
}

std::vector<int32_t> ids_of_bytes(Encoder& encoder, std::string_view text, AddedTokens added) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < text.size(); ++i) encoder.append(text.substr(i, 1), added, ids);
  encoder.finish(ids);
  return ids;
}

bool keeps_text(const TokenizerFile& file) {
  using Behavior = PreTokenizerStep::Behavior;
  const auto keeps = [](const PreTokenizerStep& step) {
    return step.behavior != Behavior::kRemoved && !step.add_prefix_space;
  };
  return file.normalizer.empty() && file.added.empty() && std::ranges::all_of(file.pre_tokenizer, keeps);
}

void check(const TokenizerFile& file, const Tokenizer& tokenizer, std::string_view text) {
  const std::unique_ptr<Encoder> encoder = tokenizer.make_encoder();
  for (const AddedTokens added : {AddedTokens::kRecognize, AddedTokens::kAsText}) {
    const std::vector<int32_t> ids = tokenizer.encode(text, added);
    CHECK(ids_of_bytes(*encoder, text, added) == ids, "the ids of '{}' depend on its cuts", text);
    for (const int32_t id : ids)
      CHECK(id >= 0 && id < tokenizer.vocabulary_size(), "id {} is not in the vocabulary", id);
    const std::string decoded = tokenizer.decode(ids, Tokenizer::Special::kWrite);
    CHECK(!keeps_text(file) || decoded == text, "'{}' became '{}'", text, decoded);
  }
}

}  // namespace
}  // namespace ropewalk

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ropewalk;
  const std::string json = with_bytes({reinterpret_cast<const char*>(data), size});
  try {
    end_of_document_in(json);
  } catch (const DataError&) {  // a clear refusal; any other exception is a fault
  }
  std::optional<TokenizerFile> file;
  const size_t largest = largest_block([&] {
    try {
      file = parse_tokenizer_file(json);
    } catch (const DataError&) {
    }
  });
  CHECK(largest <= 64 * json.size() + (64 << 10), "{} bytes of memory for {}", largest, json.size());
  if (!file) return 0;
  try {
    const std::unique_ptr<Tokenizer> tokenizer = make_bpe_tokenizer(*file, "tokenizer.json", "");
    CHECK(hash_of(*file) == hash_of(parse_tokenizer_file(json)), "a file has two hashes");
    for (const std::string_view text : kTexts) check(*file, *tokenizer, text);
  } catch (const DataError&) {
  }
  return 0;
}

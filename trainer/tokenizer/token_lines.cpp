#include "trainer/tokenizer/token_lines.h"

#include <simdjson.h>

#include "kernels/error.h"
#include "trainer/formats/json_tree.h"
#include "trainer/text/format.h"

namespace ropewalk {

namespace dom = simdjson::dom;

struct TokenLineReader::Parser {
  dom::parser parser;

  dom::element member(std::string_view line, std::string_view key) {
    dom::object object;
    if (const auto error = parser.parse(line.data(), line.size()).get(object))
      throw DataError(fmt::format("not a JSON object ({}); write {{\"{}\": ...}} on each line",
                                  simdjson::error_message(error), key));
    dom::element found;
    int count = 0;
    for (const dom::key_value_pair pair : object) {
      if (pair.key != key) continue;
      found = pair.value;
      ++count;
    }
    if (count != 1)
      throw DataError(fmt::format("the object has {} member \"{}\"", count == 0 ? "no" : "more than one", key));
    return found;
  }
};

TokenLineReader::TokenLineReader() : parser_(std::make_unique<Parser>()) {}
TokenLineReader::~TokenLineReader() = default;

std::string TokenLineReader::text(std::string_view line) {
  std::string_view text;
  if (parser_->member(line, "text").get(text)) throw DataError("\"text\" is not a string");
  return std::string(text);
}

std::vector<int32_t> TokenLineReader::ids(std::string_view line, int64_t vocabulary) {
  dom::array list;
  if (parser_->member(line, "ids").get(list)) throw DataError("\"ids\" is not a list");
  std::vector<int32_t> ids;
  for (const dom::element item : list) {
    int64_t id = -1;
    if (item.get(id) || id < 0 || id >= vocabulary)
      throw DataError(fmt::format("entry {} of \"ids\" is {}; the tokenizer's ids are the whole numbers from 0 to {}",
                                  ids.size() + 1, simdjson::minify(item), vocabulary - 1));
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

std::string line_of_ids(std::span<const int32_t> ids) {
  return fmt::format("{{\"ids\": [{}]}}\n", fmt::join(ids, ", "));
}

std::string line_of_text(std::string_view text) {
  return json_text(JsonNode::object({{"text", JsonNode(std::string(text))}})) + "\n";
}

}  // namespace ropewalk

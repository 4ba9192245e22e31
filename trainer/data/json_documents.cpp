// JSON lines: an object a line, parsed whole by simdjson, so that a broken end of a line is found too.
#include <simdjson.h>

#include <algorithm>

#include "kernels/error.h"
#include "trainer/data/document_readers.h"
#include "trainer/data/line_blocks.h"
#include "trainer/data/utf8.h"

namespace ropewalk {
namespace {

static_assert(LineBlocks::kPadding >= simdjson::SIMDJSON_PADDING);

constexpr size_t kPieceBytes = LineBlocks::kBlockBytes;

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

class JsonLineReader {
 public:
  JsonLineReader(const std::string& key, const DocumentSink& sink) : key_(key), sink_(sink) {}

  // Hands over the line's document; returns what is wrong with the line, or nothing.
  std::string read(std::string_view line) {
    simdjson::dom::element root, value;
    std::string_view text;
    if (const auto error = parser_.parse(line.data(), line.size(), false).get(root)) {
      if (error == simdjson::UTF8_ERROR) return describe_invalid_utf8(line);
      return fmt::format("not JSON: {}", simdjson::error_message(error));
    }
    if (!root.is_object()) return "not a JSON object; JSON lines hold one object a line";
    if (root[key_].get(value)) return fmt::format("the object has no member \"{}\", only {}", key_, members(root));
    if (value.get(text)) return fmt::format("member \"{}\" is not a string", key_);

    while (!text.empty()) {
      const size_t length = piece_length(text, kPieceBytes);
      sink_.piece(text.substr(0, length));
      text.remove_prefix(length);
      if (text.empty()) sink_.end();
    }
    return {};
  }

 private:
  static std::string members(const simdjson::dom::element& root) {
    std::string names;
    int count = 0;
    for (const auto field : simdjson::dom::object(root)) {
      if (++count > 8) return names + ", ...";
      names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", field.key.substr(0, 40));
    }
    return names.empty() ? "none" : names;
  }

  const std::string& key_;
  const DocumentSink& sink_;
  simdjson::dom::parser parser_;
};

}  // namespace

void read_json_lines(const std::string& file, const std::string& key, const DocumentSink& sink, BadLines bad_lines) {
  LineBlocks blocks(file, LineBlocks::LongLines::kWhole);
  JsonLineReader reader(key, sink);
  int64_t line_number = 0;
  for (std::string_view block = blocks.next(); !block.empty(); block = blocks.next()) {
    while (!block.empty()) {
      const std::string_view line = block.substr(0, block.find('\n'));
      ++line_number;
      if (!is_blank(line)) {
        if (const std::string problem = reader.read(line); !problem.empty()) bad_lines.report(line_number, problem);
      }
      block.remove_prefix(std::min(line.size() + 1, block.size()));
    }
    sink.progress(blocks.position());
  }
}

}  // namespace ropewalk

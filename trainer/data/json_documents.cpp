// JSON lines: an object a line, parsed whole by simdjson, so that a broken end of a line is found too.
#include <simdjson.h>

#include <algorithm>
#include <charconv>

#include "kernels/error.h"
#include "trainer/data/document_readers.h"
#include "trainer/data/line_blocks.h"
#include "trainer/data/utf8.h"

namespace ropewalk {
namespace {

static_assert(LineBlocks::kPadding >= simdjson::SIMDJSON_PADDING);

constexpr size_t kPieceBytes = LineBlocks::kBlockBytes;

constexpr std::string_view kBlanks = " \t\r";

bool is_blank(std::string_view line) { return line.find_first_not_of(kBlanks) == std::string_view::npos; }

// What a line that is not JSON is most likely part of; "" where nothing is likely.
std::string whole_of(std::string_view line) {
  line.remove_prefix(line.find_first_not_of(kBlanks));
  line = line.substr(0, line.find_last_not_of(kBlanks) + 1);
  if (line.front() == '[') return "; this looks like an array: `jq -c '.[]' FILE` makes lines of it";
  if (line.front() == '{' && (line.size() == 1 || line.back() == ',' || line.back() == '{' || line.back() == '['))
    return "; this looks like an object spread over lines: `jq -c . FILE` makes a line of each";
  return "";
}

// The code of the \uXXXX that `text` begins with, or 0.
unsigned escaped_code(std::string_view text) {
  unsigned code = 0;
  if (text.size() < 6 || !text.starts_with("\\u")) return 0;
  const auto [end, error] = std::from_chars(text.data() + 2, text.data() + 6, code, 16);
  return end == text.data() + 6 ? code : 0;
}

// The escape that is half of a surrogate pair without the other half; "" where there is none.
std::string_view lone_surrogate(std::string_view line) {
  for (size_t at = line.find('\\'); at < line.size(); at = line.find('\\', at)) {
    const unsigned code = escaped_code(line.substr(at)),
                   next = escaped_code(line.substr(std::min(at + 6, line.size())));
    const bool high = code >> 10 == 0xD800 >> 10, low = code >> 10 == 0xDC00 >> 10;
    const bool paired = high && next >> 10 == 0xDC00 >> 10;
    if ((high && !paired) || low) return line.substr(at, 6);
    at += paired ? 12 : 2;
  }
  return {};
}

class JsonLineReader {
 public:
  JsonLineReader(const std::string& key, const DocumentSink& sink) : key_(key), sink_(sink) {}

  // Hands over the line's document; returns what is wrong with the line, or nothing.
  std::string read(std::string_view line) {
    simdjson::dom::element root, value;
    std::string_view text;
    if (const auto error = parser_.parse(line.data(), line.size(), false).get(root)) {
      if (error == simdjson::UTF8_ERROR) return describe_invalid_utf8(line);
      if (const std::string_view half = lone_surrogate(line); !half.empty())
        return fmt::format("{} is a lone surrogate, half of a character", half);
      const std::string whole = whole_of(line);
      if (!whole.empty()) return "not JSON lines, which hold one object a line" + whole;
      return fmt::format("not JSON: {}", simdjson::error_message(error));
    }
    if (!root.is_object()) return "not a JSON object; JSON lines hold one object a line" + whole_of(line);
    if (root[key_].get(value)) return fmt::format("the object has no member \"{}\", only {}", key_, members(root));
    if (is_repeated(root)) return fmt::format("the object has more than one member \"{}\"", key_);
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
  // Readers differ in which of several they take, so none is.
  bool is_repeated(const simdjson::dom::element& root) const {
    const simdjson::dom::object object(root);
    return std::count_if(object.begin(), object.end(), [&](const auto& field) { return field.key == key_; }) > 1;
  }

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

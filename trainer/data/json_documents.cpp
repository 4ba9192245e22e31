// JSON lines: one object per line, parsed to its end, so that an error at the end of a line is found too. A line that
// simdjson refuses, or in which it finds no text, is scanned again by the grammar alone (json_scan.h): simdjson also
// refuses valid JSON for large numbers, deep nesting or lone surrogates in members that are not needed.
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <vector>

#include "kernels/error.h"
#include "trainer/data/document_readers.h"
#include "trainer/data/json_scan.h"
#include "trainer/data/text_blocks.h"
#include "trainer/text/format.h"
#include "trainer/text/utf8.h"

namespace ropewalk {
namespace {

static_assert(TextBlocks::kPadding >= simdjson::SIMDJSON_PADDING);

constexpr size_t kNamesTold = 8, kNameBytes = 40;  // of other members, in the message about a line without a text
constexpr std::string_view kBlanks = " \t\r";

bool is_blank(std::string_view line) { return line.find_first_not_of(kBlanks) == std::string_view::npos; }

// What a line that is not a JSON object is most likely part of, and the remedy; "" if nothing is likely.
std::string whole_of(std::string_view line) {
  if (line.starts_with("\xEF\xBB\xBF")) return "; it begins with a byte order mark within the file: remove that";
  line.remove_prefix(line.find_first_not_of(kBlanks));
  line = line.substr(0, line.find_last_not_of(kBlanks) + 1);
  if (line.front() == '[') return "; this looks like an array: `jq -c '.[]' FILE` makes lines of it";
  if (line.front() == '{' && (line.size() == 1 || line.back() == ',' || line.back() == '{' || line.back() == '['))
    return "; this looks like an object spread over lines: `jq -c . FILE` makes a line of each";
  if (line.front() == '{') return "";
  return "; use --format text for plain text; make JSON lines of a table (CSV) with `python3 -c 'import csv, json, "
         "sys; [print(json.dumps(row)) for row in csv.DictReader(sys.stdin)]' < FILE`";
}

// The code of \uXXXX at the beginning of `text`; 0 if there is none.
unsigned escaped_code(std::string_view text) {
  unsigned code = 0;
  if (text.size() < 6 || !text.starts_with("\\u")) return 0;
  const auto [end, error] = std::from_chars(text.data() + 2, text.data() + 6, code, 16);
  return end == text.data() + 6 ? code : 0;
}

// The first escape that is a lone surrogate; "" if there is none.
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
  JsonLineReader(const DocumentOptions& options, const DocumentSink& sink)
      : key_(options.json_key.value_or("text")), block_bytes_(options.block_bytes), sink_(sink) {}

  // Gives the line's document to the sink. Returns what is wrong with the line, "" if nothing is.
  std::string read(std::string_view line) {
    simdjson::dom::element root, value;
    std::string_view text;
    if (parser_.parse(line.data(), line.size(), false).get(root) || !root.is_object() || root[key_].get(value) ||
        is_repeated(root) || value.get(text))
      return read_by_grammar(line);
    add_document(text);
    return {};
  }

 private:
  // The same, for a line that simdjson refuses or that does not have exactly one text.
  std::string read_by_grammar(std::string_view line) {
    if (!is_utf8(line)) return describe_invalid_utf8(line);
    std::string_view found;
    int64_t count = 0;
    std::vector<std::string_view> others;
    const auto problem = scan_json(line, [&](std::string_view key, std::string_view value) {
      if (is_key(key)) {
        found = value;
        ++count;
      } else if (others.size() <= kNamesTold) {
        others.push_back(key);
      }
    });
    if (problem) {
      const std::string whole = whole_of(line);
      if (!whole.empty()) return "not JSON lines, which hold one object a line" + whole;
      return fmt::format("not JSON: {} at byte {} of the line", problem->what, problem->position + 1);
    }
    if (line[line.find_first_not_of(kBlanks)] != '{')
      return "not a JSON object; JSON lines hold one object a line" + whole_of(line);
    const std::string key = printable_name(key_);
    if (count == 0) return fmt::format("the object has no member \"{}\", only {}", key, named(others));
    if (count > 1) return fmt::format("the object has more than one member \"{}\"", key);
    if (found.front() != '"') return fmt::format("member \"{}\" is not a string", key);
    return read_string(found);
  }

  // The same, for the document in a JSON string that is valid by the grammar.
  std::string read_string(std::string_view string) {
    std::string_view text;
    const auto error = parser_.parse(string.data(), string.size(), false).get(text);
    if (!error) {
      add_document(text);
      return {};
    }
    const std::string_view half = lone_surrogate(string);
    return half.empty() ? fmt::format("member \"{}\": {}", printable_name(key_), simdjson::error_message(error))
                        : fmt::format("{} is a lone surrogate, half of a character", half);
  }

  void add_document(std::string_view text) {
    hand_over(text, block_bytes_, sink_);
    if (!text.empty()) sink_.end();
  }

  // Whether the key is repeated. Such a line is refused, because readers differ in which member they take.
  bool is_repeated(const simdjson::dom::element& root) const {
    const simdjson::dom::object object(root);
    return std::count_if(object.begin(), object.end(), [&](const auto& field) { return field.key == key_; }) > 1;
  }

  // `written`: with its quotes, perhaps with escapes.
  bool is_key(std::string_view written) {
    if (written.find('\\') == std::string_view::npos) return written.substr(1, written.size() - 2) == key_;
    std::string_view text;
    return !parser_.parse(written.data(), written.size(), false).get(text) && text == key_;
  }

  static std::string named(const std::vector<std::string_view>& keys) {
    std::string names;
    for (const std::string_view key : std::span(keys).first(std::min(keys.size(), kNamesTold))) {
      const std::string_view name = key.substr(1, key.size() - 2);
      names +=
          fmt::format("{}\"{}\"", names.empty() ? "" : ", ",
                      printable_name(name.size() <= kNameBytes
                                         ? name
                                         : name.substr(0, length_in_whole_characters(name.substr(0, kNameBytes)))));
    }
    return keys.empty() ? "none" : keys.size() > kNamesTold ? names + ", ..." : names;
  }

  const std::string key_;
  size_t block_bytes_;
  const DocumentSink& sink_;
  simdjson::dom::parser parser_;
};

}  // namespace

void read_json_lines(const std::string& file, const DocumentOptions& options, const DocumentSink& sink,
                     BadLines bad_lines) {
  TextBlocks blocks(file, TextBlocks::End::kLine, options.block_bytes);
  JsonLineReader reader(options, sink);
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

#include "trainer/config/text_reader.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/error.h"
#include "trainer/config/field_names.h"
#include "trainer/config/field_rules.h"
#include "trainer/text/nearest.h"

namespace ropewalk {

namespace {

constexpr int64_t kMostProblems = 50;  // of a text; a hostile text may have millions

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Reflection;
using google::protobuf::io::Tokenizer;

bool parse_integer(const std::string& text, uint64_t largest, uint64_t& value) {
  return Tokenizer::ParseInteger(text, largest, &value);
}

// An integer between -largest - 1 and largest.
bool parse_signed(bool negative, const std::string& text, uint64_t largest, int64_t& value) {
  uint64_t magnitude = 0;
  if (!parse_integer(text, negative ? largest + 1 : largest, magnitude)) return false;
  value = negative ? static_cast<int64_t>(-magnitude) : static_cast<int64_t>(magnitude);
  return true;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  return text;
}

bool is_integer(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_INT32 || field.cpp_type() == FieldDescriptor::CPPTYPE_INT64 ||
         field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64;
}

// The rule for a whole number that does not fit the field's type. Seeds and windows are not in the table of ranges.
std::string integer_rule(const FieldDescriptor& field, const std::string& path) {
  if (const std::string rule = range_rule(path); !rule.empty()) return rule;
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64)
    return fmt::format("must be at least 0 and at most {}", std::numeric_limits<uint64_t>::max());
  return fmt::format("must be at least 1 and at most {}", kMostPositions);
}

std::string type_rule(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
      return "must be a whole number";
    case FieldDescriptor::CPPTYPE_UINT64:
      return "must be a whole number, not negative";
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return "must be a number";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "must be true or false";
    case FieldDescriptor::CPPTYPE_STRING:
      return "must be text in quotes";
    case FieldDescriptor::CPPTYPE_ENUM:
      return fmt::format("must be one of {}", fmt::join(value_names(*field.enum_type()), ", "));
    default:
      return fmt::format("is a group of fields, written {} {{ ... }}", field.name());
  }
}

}  // namespace

TextReader::TextReader(google::protobuf::io::ZeroCopyInputStream& stream, Locate locate, const TextSchema& schema,
                       Problems& problems)
    : locate_(std::move(locate)), schema_(schema), problems_(problems), tokenizer_(&stream, this) {
  // As in protobuf's own text format.
  tokenizer_.set_allow_f_after_float(true);
  tokenizer_.set_comment_style(Tokenizer::SH_COMMENT_STYLE);
  tokenizer_.Next();
}

bool TextReader::read_message_text(Message& message) {
  read_fields(message, "", "");
  return !broken_;
}

bool TextReader::read_value_text(Message& message, const FieldDescriptor& field, const std::string& path) {
  problems_.set_origin(path, here());
  if (!broken_) read_value(message, field, path);
  if (!broken_ && !at_end()) syntax_error("one value");
  if (broken_) problems_.unreadable(path);
  return !broken_;
}

void TextReader::read_fields(Message& message, const std::string& path, std::string_view end) {
  while (!broken_ && !(end.empty() ? at_end() : at(end))) {
    if (problems_.count() >= kMostProblems) {
      broken_ = true;
      problems_.add_at(here(), {"", "", fmt::format("nothing more was read after {} problems", kMostProblems), ""});
    } else {
      read_field(message, path);
    }
  }
  if (!broken_ && !end.empty()) close_bracket();
}

void TextReader::read_field(Message& message, const std::string& path) {
  if (tokenizer_.current().type != Tokenizer::TYPE_IDENTIFIER) return syntax_error("the name of a field");
  const std::string name = tokenizer_.current().text, where = here();
  const std::string full = join_path(path, name);
  tokenizer_.Next();
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
  if (field) {
    read_known_field(message, *field, full, where);
  } else {
    const std::string meant = schema_.suggest(*message.GetDescriptor(), path, name);
    problems_.add_at(where, {excerpt(full), "", "is not a field of " + schema_.what,
                             meant.empty() ? schema_.remedy : "did you mean " + meant + "?"});
    if (!meant.empty()) problems_.unreadable(meant);
    if (!take(":") && !at("{") && !at("<") && !at("[")) return syntax_error("':' or '{'");
    skip_value();
  }
  if (!take(";")) take(",");
}

void TextReader::read_known_field(Message& message, const FieldDescriptor& field, const std::string& path,
                                  const std::string& where) {
  const bool may_lack_colon = at("{") || at("<") || (field.message_type() && at("["));
  if (!take(":") && !may_lack_colon) return syntax_error(field.message_type() ? "'{'" : "':'");
  const bool second = !field.is_repeated() && message.GetReflection()->HasField(message, &field);
  if (second && !in_second_group_) {
    const std::string* first = problems_.origin(path);
    problems_.add_at(where,
                     {path, "", first ? "is set twice, first at " + *first : "is set twice", "keep one of them"});
    if (!field.message_type()) return skip_value();
  }
  if (!second || in_second_group_) problems_.set_origin(path, where);
  const bool outside = std::exchange(in_second_group_, in_second_group_ || second);
  read_value(message, field, path);
  in_second_group_ = outside;
}

void TextReader::read_value(Message& message, const FieldDescriptor& field, const std::string& path) {
  if (field.is_repeated()) return read_entries(message, field, path);
  const bool braces = at("{") || at("<");
  if (field.message_type() && braces)
    return read_braces(*message.GetReflection()->MutableMessage(&message, &field), path);
  if (field.message_type() || braces || at("[")) {
    type_problem(field, path, at_end() ? "" : tokenizer_.current().text);
    return skip_value();
  }
  Scalar scalar;
  if (!take_scalar(scalar)) return;
  if (!set_scalar(message, field, scalar)) value_problem(field, path, scalar);
}

void TextReader::read_entries(Message& message, const FieldDescriptor& field, const std::string& path) {
  if (!at("[")) return read_entry(message, field, path);
  open_bracket();
  while (!broken_ && !at("]")) {
    read_entry(message, field, path);
    if (broken_ || at("]")) break;
    if (!take(",")) return syntax_error("',' or ']'");
    if (at("]")) return syntax_error("a value");
  }
  if (!broken_) close_bracket();
}

void TextReader::read_entry(Message& message, const FieldDescriptor& field, const std::string& path) {
  CHECK(field.message_type(), "{} is a list of scalars, which no field of the schema was", field.full_name());
  if (!at("{") && !at("<")) {
    type_problem(field, path, at_end() ? "" : tokenizer_.current().text);
    return skip_value();
  }
  const Reflection& reflection = *message.GetReflection();
  const int index = reflection.FieldSize(message, &field);
  if (index == kMostEntries) {
    problems_.add_at(here(), {path, "", fmt::format("has more than {} entries", kMostEntries), ""});
    broken_ = true;
    return;
  }
  const std::string entry = join_path(path, std::to_string(index));
  problems_.set_origin(entry, here());
  read_braces(*reflection.AddMessage(&message, &field), entry);
}

void TextReader::read_braces(Message& message, const std::string& path) {
  const std::string end = at("{") ? "}" : ">";
  open_bracket();
  read_fields(message, path, end);
}

// Skips a scalar, or everything up to the bracket that closes the current one. Brackets are counted but not matched by
// kind, because the value is already refused.
void TextReader::skip_value() {
  int64_t depth = 0;
  Scalar scalar;
  do {
    const bool opens = at("{") || at("<") || at("["), closes = at("}") || at(">") || at("]");
    if (at_end() || (closes && depth == 0)) return syntax_error("a value");
    depth += opens ? 1 : closes ? -1 : 0;
    if (opens && depth == 1)
      open_bracket();
    else if (closes && depth == 0)
      close_bracket();
    else if (depth > 0)
      tokenizer_.Next();
    else
      take_scalar(scalar);
  } while (depth > 0 && !broken_);
}

bool TextReader::take_scalar(Scalar& scalar) {
  scalar.negative = take("-");
  scalar.type = tokenizer_.current().type;
  switch (scalar.type) {
    case Tokenizer::TYPE_STRING:
      while (!broken_ && tokenizer_.current().type == Tokenizer::TYPE_STRING) {  // "a" "b" is "ab"
        Tokenizer::ParseStringAppend(tokenizer_.current().text, &scalar.text);
        tokenizer_.Next();
      }
      return !broken_;
    case Tokenizer::TYPE_IDENTIFIER:
    case Tokenizer::TYPE_INTEGER:
    case Tokenizer::TYPE_FLOAT:
      scalar.text = tokenizer_.current().text;
      tokenizer_.Next();
      return !broken_;
    default:
      syntax_error("a value");
      return false;
  }
}

bool TextReader::set_scalar(Message& message, const FieldDescriptor& field, const Scalar& scalar) {
  const Reflection& reflection = *message.GetReflection();
  const std::string& text = scalar.text;
  const bool integer = scalar.type == Tokenizer::TYPE_INTEGER, word = scalar.type == Tokenizer::TYPE_IDENTIFIER;
  int64_t number = 0;
  uint64_t natural = 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      if (!integer || !parse_signed(scalar.negative, text, std::numeric_limits<int32_t>::max(), number)) return false;
      reflection.SetInt32(&message, &field, static_cast<int32_t>(number));
      return true;
    case FieldDescriptor::CPPTYPE_INT64:
      if (!integer || !parse_signed(scalar.negative, text, std::numeric_limits<int64_t>::max(), number)) return false;
      reflection.SetInt64(&message, &field, number);
      return true;
    case FieldDescriptor::CPPTYPE_UINT64:
      if (!integer || scalar.negative || !parse_integer(text, std::numeric_limits<uint64_t>::max(), natural))
        return false;
      reflection.SetUInt64(&message, &field, natural);
      return true;
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      double value = 0;
      const bool decimal = text[0] != '0' || text.size() == 1;  // 0x10 and 010 are integers in another base
      if (scalar.type == Tokenizer::TYPE_FLOAT || (integer && decimal))
        value = Tokenizer::ParseFloat(text);
      else if (word && (lower(text) == "inf" || lower(text) == "infinity"))
        value = std::numeric_limits<double>::infinity();
      else if (word && lower(text) == "nan")
        value = std::numeric_limits<double>::quiet_NaN();
      else
        return false;
      reflection.SetDouble(&message, &field, scalar.negative ? -value : value);
      return true;
    }
    case FieldDescriptor::CPPTYPE_BOOL: {
      const bool is_true = text == "true" || text == "True" || text == "t" || text == "1";
      const bool is_false = text == "false" || text == "False" || text == "f" || text == "0";
      if (scalar.negative || !(integer || word) || !(is_true || is_false)) return false;
      reflection.SetBool(&message, &field, is_true);
      return true;
    }
    case FieldDescriptor::CPPTYPE_STRING:
      if (scalar.negative || scalar.type != Tokenizer::TYPE_STRING) return false;
      reflection.SetString(&message, &field, text);
      return true;
    case FieldDescriptor::CPPTYPE_ENUM: {
      const EnumValueDescriptor* value = nullptr;
      if (word && !scalar.negative) value = field.enum_type()->FindValueByName(text);
      if (integer && parse_signed(scalar.negative, text, std::numeric_limits<int32_t>::max(), number))
        value = field.enum_type()->FindValueByNumber(static_cast<int>(number));
      if (value) reflection.SetEnum(&message, &field, value);
      return value != nullptr;
    }
    default:
      CHECK(false, "{} has type {}, which the configuration does not use", field.full_name(), field.type_name());
  }
  return false;
}

void TextReader::AddError(int line, int column, const std::string& message) {
  if (broken_) return;
  broken_ = true;
  std::string said = excerpt(message);
  if (said.starts_with("Interpreting non ascii"))
    said = "a character that is not ASCII, which only text in quotes and comments may hold";
  if (said.starts_with("Invalid control character")) said = "a control character; is this the right file?";
  problems_.add_at(locate_(line, column), {"", "", "syntax: " + said, ""});
}

void TextReader::syntax_error(const std::string& expected) {
  if (broken_) return;
  broken_ = true;
  if (at_end() && !open_.empty()) {
    const Bracket& last = open_.back();
    problems_.add_at(locate_(last.line, last.column),
                     {"", "", fmt::format("syntax: this '{}' is never closed", last.symbol), ""});
    return;
  }
  const std::string found = at_end() ? "the end" : fmt::format("'{}'", excerpt(tokenizer_.current().text));
  problems_.add_at(here(), {"", "", fmt::format("syntax: expected {}, found {}", expected, found), ""});
}

void TextReader::type_problem(const FieldDescriptor& field, const std::string& path, const std::string& value) {
  std::string remedy;
  if (field.enum_type()) {
    std::vector<std::string> names = value_names(*field.enum_type()), lowered;
    for (const std::string& name : names) lowered.push_back(lower(name));
    const std::string near = nearest_name(lower(value), lowered);
    const auto found = std::find(lowered.begin(), lowered.end(), near);
    if (!near.empty()) remedy = fmt::format("did you mean {}?", names[static_cast<size_t>(found - lowered.begin())]);
  }
  problems_.add({path, excerpt(value), type_rule(field), remedy});
  problems_.unreadable(path);
}

void TextReader::value_problem(const FieldDescriptor& field, const std::string& path, const Scalar& scalar) {
  const std::string value = (scalar.negative ? "-" : "") + scalar.text;
  const bool unsigned_field = field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64;
  if (!is_integer(field) || scalar.type != Tokenizer::TYPE_INTEGER || (unsigned_field && scalar.negative))
    return type_problem(field, path, value);
  problems_.add({path, excerpt(value), integer_rule(field, path), ""});
  problems_.unreadable(path);
}

void TextReader::open_bracket() {
  open_.push_back({tokenizer_.current().text, tokenizer_.current().line, tokenizer_.current().column});
  tokenizer_.Next();
}

void TextReader::close_bracket() {
  open_.pop_back();
  tokenizer_.Next();
}

bool TextReader::at(std::string_view symbol) {
  return tokenizer_.current().type == Tokenizer::TYPE_SYMBOL && tokenizer_.current().text == symbol;
}

bool TextReader::take(std::string_view symbol) {
  if (!at(symbol)) return false;
  tokenizer_.Next();
  return true;
}

}  // namespace ropewalk

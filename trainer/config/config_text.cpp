#include "trainer/config/config_text.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>

#include "configs/ropewalk.pb.h"
#include "kernels/error.h"
#include "trainer/config/field_names.h"
#include "trainer/config/text_reader.h"

namespace ropewalk {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// The field that an override sets, and the message that holds it.
struct Target {
  Message* message = nullptr;
  const FieldDescriptor* field = nullptr;
  std::string path;
};

bool is_index(std::string_view part) {
  return !part.empty() && part.size() <= 5 && part.find_first_not_of("0123456789") == std::string_view::npos;
}

// Finds the field with the path "model.pattern.0.window". The target's field is null after a problem.
class PathWalk {
 public:
  PathWalk(const std::string& where, std::string_view path, Message& top, Problems& problems)
      : where_(where), rest_(path), target_{&top, nullptr, ""}, problems_(problems) {}

  Target walk() {
    while (true) {
      const std::string name = next_part();
      target_.field = target_.message->GetDescriptor()->FindFieldByName(name);
      if (!target_.field) return unknown(name);
      target_.path = join_path(target_.path, name);
      if (rest_.empty()) return target_;
      if (!target_.field->message_type())
        return problem("has no fields of its own", "set it by --set " + target_.path + "=VALUE");
      if (!enter()) return {};
    }
  }

 private:
  // Removes the part before the next dot from the rest, and returns it.
  std::string next_part() {
    const size_t dot = rest_.find('.');
    const std::string part(rest_.substr(0, dot));
    rest_ = dot == std::string_view::npos ? "" : rest_.substr(dot + 1);
    return part;
  }

  bool enter() {
    const Reflection& reflection = *target_.message->GetReflection();
    if (!target_.field->is_repeated()) {
      target_.message = reflection.MutableMessage(target_.message, target_.field);
      return true;
    }
    const int entries = reflection.FieldSize(*target_.message, target_.field);
    const std::string part = next_part();
    const int index = is_index(part) ? std::stoi(part) : -1;
    if (index < 0 || index > entries || index >= kMostEntries || rest_.empty()) {
      problem(fmt::format("is a list of {} entries; an entry's field is named {}.INDEX.FIELD", entries, target_.path),
              fmt::format("use an index from 0 to {} ({} adds an entry)", entries, entries));
      return false;
    }
    target_.message = index == entries ? reflection.AddMessage(target_.message, target_.field)
                                       : reflection.MutableRepeatedMessage(target_.message, target_.field, index);
    target_.path = join_path(target_.path, part);
    return true;
  }

  Target unknown(const std::string& name) {
    const std::string meant = suggest_field(*target_.message->GetDescriptor(), target_.path, name);
    problems_.add_at(where_, {excerpt(join_path(target_.path, name)), "", "is not a field of the configuration",
                              meant.empty() ? "`ropewalk schema` lists them" : "did you mean " + meant + "?"});
    if (!meant.empty()) problems_.unreadable(meant);
    return {};
  }

  Target problem(const std::string& rule, const std::string& remedy) {
    problems_.add_at(where_, {target_.path, "", rule, remedy});
    return {};
  }

  const std::string& where_;
  std::string_view rest_;
  Target target_;
  Problems& problems_;
};

TextSchema configuration_schema() { return {"the configuration", "`ropewalk schema` lists them", suggest_field}; }

// Why `text` cannot be UTF-8 text, where protobuf would only report a wrong codepoint; empty if it may be.
std::string not_text(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) return "starts with a byte-order mark; save it as UTF-8 without one";
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF"))
    return "starts with a byte-order mark of UTF-16; save it as UTF-8 without one";
  if (text.find('\0') != std::string_view::npos) return "is not text: it has NUL bytes; name a configuration, in UTF-8";
  return "";
}

// Sets every field that is not set to its default, in this message and in all below it, list entries included.
void make_explicit(Message& message) {
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    if (field->is_repeated()) {
      for (int entry = 0; entry < reflection.FieldSize(message, field); ++entry)
        make_explicit(*reflection.MutableRepeatedMessage(&message, field, entry));
    } else if (field->message_type()) {
      make_explicit(*reflection.MutableMessage(&message, field));
    } else if (field->has_default_value() && !reflection.HasField(message, field)) {
      switch (field->cpp_type()) {
        case FieldDescriptor::CPPTYPE_INT32:
          reflection.SetInt32(&message, field, field->default_value_int32());
          break;
        case FieldDescriptor::CPPTYPE_INT64:
          reflection.SetInt64(&message, field, field->default_value_int64());
          break;
        case FieldDescriptor::CPPTYPE_UINT64:
          reflection.SetUInt64(&message, field, field->default_value_uint64());
          break;
        case FieldDescriptor::CPPTYPE_DOUBLE:
          reflection.SetDouble(&message, field, field->default_value_double());
          break;
        case FieldDescriptor::CPPTYPE_BOOL:
          reflection.SetBool(&message, field, field->default_value_bool());
          break;
        case FieldDescriptor::CPPTYPE_ENUM:
          reflection.SetEnum(&message, field, field->default_value_enum());
          break;
        case FieldDescriptor::CPPTYPE_STRING:
          reflection.SetString(&message, field, field->default_value_string());
          break;
        default:
          CHECK(false, "{} has type {}, which the configuration does not use", field->full_name(), field->type_name());
      }
    }
  }
}

}  // namespace

bool read_message_text(std::string_view text, const std::string& name, const TextSchema& schema, Message& message,
                       Problems& problems) {
  CHECK(text.size() < (1u << 30), "{} bytes of {}", text.size(), schema.what);
  if (const std::string problem = not_text(text); !problem.empty()) {
    problems.add_at(name, {"", "", problem, ""});
    return false;
  }
  google::protobuf::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
  const auto locate = [&name](int line, int column) { return fmt::format("{}:{}:{}", name, line + 1, column + 1); };
  return TextReader(stream, locate, schema, problems).read_message_text(message);
}

bool read_config_text(std::string_view text, const std::string& name, proto::Config& config, Problems& problems) {
  return read_message_text(text, name, configuration_schema(), config, problems);
}

void apply_override(std::string_view assignment, proto::Config& config, Problems& problems) {
  const std::string where = "--set " + (assignment.empty() ? "''" : excerpt(assignment));
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    problems.add_at(where, {"", "", "is not of the form FIELD=VALUE", "write --set training.learning_rate=3e-4"});
    return;
  }
  Target target = PathWalk(where, assignment.substr(0, equals), config, problems).walk();
  if (!target.field) return;

  const std::string_view value = assignment.substr(equals + 1);
  target.message->GetReflection()->ClearField(target.message, target.field);
  problems.forget_origins(target.path);
  const bool bare = value.empty() || (value.front() != '"' && value.front() != '\'');
  if (target.field->cpp_type() == FieldDescriptor::CPPTYPE_STRING && bare) {
    target.message->GetReflection()->SetString(target.message, target.field, std::string(value));
    problems.set_origin(target.path, where);
    return;
  }
  CHECK(value.size() < (1u << 30), "{} bytes of override", value.size());
  google::protobuf::io::ArrayInputStream stream(value.data(), static_cast<int>(value.size()));
  TextReader(
      stream, [&where](int, int) { return where; }, configuration_schema(), problems)
      .read_value_text(*target.message, *target.field, target.path);
}

std::string write_config_text(const proto::Config& config) {
  proto::Config whole = config;
  make_explicit(whole);
  std::string text;
  google::protobuf::TextFormat::Printer printer;
  CHECK(printer.PrintToString(whole, &text), "the configuration cannot be printed");
  return text;
}

}  // namespace ropewalk

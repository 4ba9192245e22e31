// The names of the configuration's fields, from the schema, and their values as text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Descriptor;
class EnumDescriptor;
class FieldDescriptor;
class Message;
}  // namespace google::protobuf

namespace ropewalk {

std::vector<std::string> field_names(const google::protobuf::Descriptor& message);
std::vector<std::string> value_names(const google::protobuf::EnumDescriptor& type);

// The full dotted name of the field that the user probably meant by the unknown `name` in the message at `path` ("" is
// the top): the nearest name in that message; else the field for which another trainer uses `name` ("lr":
// training.learning_rate); else the nearest name in any message; else "".
std::string suggest_field(const google::protobuf::Descriptor& message, const std::string& path, std::string_view name);

// The value of a field that is neither a message nor a list: "50000", "SLIDING"; "nothing" if it is not set and has no
// default.
std::string value_text(const google::protobuf::Message& message, const google::protobuf::FieldDescriptor& field);

// "model" + "width" = "model.width", "" + "model" = "model".
std::string join_path(const std::string& path, std::string_view name);

}  // namespace ropewalk

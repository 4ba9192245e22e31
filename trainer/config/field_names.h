// The names of the configuration's fields, from the schema.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Descriptor;
class EnumDescriptor;
}  // namespace google::protobuf

namespace ropewalk {

std::vector<std::string> field_names(const google::protobuf::Descriptor& message);
std::vector<std::string> value_names(const google::protobuf::EnumDescriptor& type);

// The whole dotted name that the user may have meant by the unknown `name` in the message at `path` ("" is the top):
// the nearest in that message, else another trainer's word for a field of ours, else the nearest field anywhere; or "".
std::string suggest_field(const google::protobuf::Descriptor& message, const std::string& path, std::string_view name);

// "model" + "width" = "model.width", "" + "model" = "model".
std::string join_path(const std::string& path, std::string_view name);

}  // namespace ropewalk

#include "trainer/config/checkpoint_model.h"

#include <fmt/ranges.h>
#include <google/protobuf/message.h>

#include <algorithm>

#include "configs/ropewalk.pb.h"
#include "kernels/error.h"
#include "trainer/config/config_text.h"
#include "trainer/config/field_names.h"
#include "trainer/config/text_reader.h"
#include "trainer/text/format.h"

namespace ropewalk {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// A field in which the models of a checkpoint and of the configuration differ.
struct Difference {
  std::string field;        // "model.pattern.0.theta"
  std::string there, here;  // the values, as text
  bool is_shape;            // the weights of one model do not fit the other
};

std::vector<const FieldDescriptor*> fields_of(const google::protobuf::Descriptor& message) {
  std::vector<const FieldDescriptor*> out;
  for (int i = 0; i < message.field_count(); ++i) out.push_back(message.field(i));
  return out;
}

// A list without entries is not set.
bool is_set(const proto::Model& model, const FieldDescriptor* field) {
  const auto& reflection = *model.GetReflection();
  return field->is_repeated() ? reflection.FieldSize(model, field) > 0 : reflection.HasField(model, field);
}

proto::Model model_in(const std::string& text, const std::string& name) {
  Problems problems;
  proto::Config config;
  read_config_text(text, name, config, problems);
  problems.throw_if_any(name);
  return config.model();
}

void set_origins(const Message& message, const std::string& path, const std::string& origin, Problems& problems) {
  std::vector<const FieldDescriptor*> set;
  message.GetReflection()->ListFields(message, &set);
  for (const FieldDescriptor* field : set) {
    const std::string name = join_path(path, field->name());
    problems.set_origin(name, origin);
    for (int entry = 0; field->is_repeated() && entry < message.GetReflection()->FieldSize(message, field); ++entry)
      set_origins(message.GetReflection()->GetRepeatedMessage(message, field, entry),
                  join_path(name, std::to_string(entry)), origin, problems);
  }
}

// Compares an entry of this configuration's pattern with the checkpoint's layers for which it stands.
void append_layer_differences(const proto::Model& there, const proto::Model& here, int entry,
                              std::vector<Difference>& out) {
  const auto layers = static_cast<int>(std::min<int64_t>({there.layers(), here.layers(), kMostEntries}));
  for (const FieldDescriptor* field : fields_of(*proto::Layer::descriptor())) {
    const std::string value = value_text(here.pattern(entry), *field);
    std::vector<std::string> others;
    for (int layer = entry; layer < layers; layer += here.pattern_size()) {
      const std::string other = value_text(there.pattern(layer % there.pattern_size()), *field);
      if (other != value && std::ranges::find(others, other) == others.end()) others.push_back(other);
    }
    if (!others.empty())
      out.push_back({fmt::format("model.pattern.{}.{}", entry, field->name()),
                     fmt::format("{}", fmt::join(others, " and ")), value, field->name() == "qk_norm"});
  }
}

std::vector<Difference> differences(const proto::Model& there, const proto::Model& here) {
  std::vector<Difference> out;
  for (const FieldDescriptor* field : fields_of(*proto::Model::descriptor())) {
    if (field->is_repeated() || field->name() == "initializer_range") continue;
    const std::string other = value_text(there, *field), value = value_text(here, *field);
    if (other != value) out.push_back({join_path("model", field->name()), other, value, !field->has_default_value()});
  }
  if (there.pattern().empty()) return out;
  for (int entry = 0; entry < here.pattern_size(); ++entry) append_layer_differences(there, here, entry, out);
  return out;
}

}  // namespace

bool is_whole(const proto::Model& model) {
  return std::ranges::all_of(fields_of(*proto::Model::descriptor()),
                             [&](const FieldDescriptor* field) { return is_set(model, field); });
}

proto::Model model_of(const CheckpointModel& checkpoint) {
  return checkpoint.text.empty() ? proto::Model() : model_in(checkpoint.text, checkpoint.checkpoint);
}

void complete_model(const CheckpointModel& checkpoint, const proto::Model& inherited, proto::Config& config,
                    Problems& problems) {
  if (checkpoint.text.empty()) return;
  proto::Model rest = inherited;
  for (const FieldDescriptor* field : fields_of(*proto::Model::descriptor()))
    if (is_set(config.model(), field)) rest.GetReflection()->ClearField(&rest, field);
  set_origins(rest, "model", printable_name(checkpoint.checkpoint), problems);
  config.mutable_model()->MergeFrom(rest);
}

void check_readable(const CheckpointModel& checkpoint, const proto::Config& config, Problems& problems) {
  if (checkpoint.problem.empty()) return;
  std::vector<std::string> lacking;
  for (const FieldDescriptor* field : fields_of(*proto::Model::descriptor()))
    if (!field->has_default_value() && !is_set(config.model(), field))
      lacking.push_back(join_path("model", field->name()));
  if (checkpoint.is_start_from)
    problems.add({"training.start_from", excerpt(checkpoint.checkpoint), checkpoint.problem, ""});
  else if (!lacking.empty())
    problems.add(
        {"model", "", "is not complete, and the run's checkpoint cannot complete it: " + checkpoint.problem, ""});
  for (const std::string& field : lacking) problems.unreadable(field);
}

void check_shape(const CheckpointModel& checkpoint, const proto::Model& inherited, const proto::Config& config,
                 Problems& problems) {
  if (!checkpoint.is_start_from || checkpoint.text.empty()) return;
  for (const Difference& d : differences(inherited, config.model()))
    if (d.is_shape && !problems.is_unreadable(d.field))
      problems.add({d.field, d.here,
                    fmt::format("is {} in the checkpoint {}", d.there, printable_name(checkpoint.checkpoint)),
                    "set it so, or name another checkpoint in training.start_from"});
}

std::vector<std::string> model_changes(const std::string& checkpoint_model, const std::string& this_config) {
  std::vector<std::string> lines;
  for (const Difference& d :
       differences(model_in(checkpoint_model, "the checkpoint's model"), model_in(this_config, "the configuration")))
    if (!d.is_shape) lines.push_back(fmt::format("{}: {} in the checkpoint, {} here", d.field, d.there, d.here));
  return lines;
}

}  // namespace ropewalk

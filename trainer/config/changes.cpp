#include "trainer/config/changes.h"

#include <fmt/format.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <map>

#include "configs/ropewalk.pb.h"
#include "trainer/config/config_text.h"
#include "trainer/config/field_names.h"
#include "trainer/config/precision.h"
#include "trainer/config/problems.h"

namespace ropewalk {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Not reported: where a run executes and what it writes do not change what it learns. Nor does training.start_from: a
// run that resumes does not read it.
constexpr std::string_view kUntold[] = {"parallel.", "output.", "checkpoint.", "training.start_from"};
// Reported as warnings: with the same weights the model would compute another function, or the samples would come in
// another order.
constexpr std::string_view kGrave[] = {"model.", "data.", "training.batch", "training.seed"};

// May have changed without the user's intention: its default depends on the device (loss_chunk.h).
constexpr std::string_view kChosen = "training.loss_chunk";

bool begins_with_any(const std::string& path, const auto& prefixes) {
  return std::ranges::any_of(prefixes, [&](std::string_view prefix) { return path.starts_with(prefix); });
}

// Appends the fields of the stages that had begun when `step` steps were done.
void append_begun_stages(const proto::Config& config, int64_t step, std::vector<std::string>& paths) {
  for (int i = 0; i < config.training().stages_size(); ++i)
    if (config.training().stages(i).first_step() < step)
      for (const char* field :
           {"first_step", "sequence_length", "batch", "theta", "prefix", "blend"})  // not micro_batch
        paths.push_back(fmt::format("training.stages.{}.{}", i, field));
}

// Adds every field: its dotted path and its value as text, "nothing" if it has none.
void flatten(const Message& message, const std::string& path, std::map<std::string, std::string>& out) {
  const auto* type = message.GetDescriptor();
  const auto* reflection = message.GetReflection();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    const std::string name = join_path(path, field->name());
    if (field->is_repeated()) {
      for (int entry = 0; entry < reflection->FieldSize(message, field); ++entry)
        flatten(reflection->GetRepeatedMessage(message, field, entry), join_path(name, std::to_string(entry)), out);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      flatten(reflection->GetMessage(message, field), name, out);
    } else {
      out[name] = value_text(message, *field);
    }
  }
}

}  // namespace

std::vector<std::string> config_changes(const std::string& before, const std::string& after, int64_t step) {
  Problems problems;
  proto::Config old_config, new_config;
  if (!read_config_text(before, "the checkpoint's configuration", old_config, problems) || !problems.empty() ||
      !read_config_text(after, "this configuration", new_config, problems))
    return {
        "warning: this program cannot read the checkpoint's configuration; changes since the checkpoint are not known"};
  for (proto::Config* config : {&old_config, &new_config}) resolve_precision(*config);  // older ones have none
  std::map<std::string, std::string> old_fields, new_fields;
  flatten(old_config, "", old_fields);
  flatten(new_config, "", new_fields);
  for (const auto& [path, value] : old_fields) new_fields.try_emplace(path, "nothing");
  std::vector<std::string> grave(std::begin(kGrave), std::end(kGrave));
  append_begun_stages(old_config, step, grave);
  append_begun_stages(new_config, step, grave);
  std::vector<std::string> lines;
  for (const auto& [path, value] : new_fields) {
    const auto found = old_fields.find(path);
    const std::string was = found == old_fields.end() ? "nothing" : found->second;
    if (was == value || begins_with_any(path, kUntold)) continue;
    const std::string remedy =
        path == kChosen ? fmt::format(" (sums in another order; --set {}={} for the same bits)", path, was) : "";
    lines.push_back(fmt::format("{}changed since the checkpoint: {}: {} -> {}{}",
                                begins_with_any(path, grave) ? "warning: " : "", path, was, value, remedy));
  }
  return lines;
}

}  // namespace ropewalk

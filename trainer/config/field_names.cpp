#include "trainer/config/field_names.h"

#include <google/protobuf/text_format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "configs/ropewalk.pb.h"
#include "trainer/text/nearest.h"

namespace ropewalk {

namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;

// What Megatron, torchtitan and Hugging Face call our fields. Only suggested, never accepted: a field has one name.
constexpr std::pair<std::string_view, std::string_view> kOtherWords[] = {
    {"num_layers", "model.layers"},
    {"num_hidden_layers", "model.layers"},
    {"hidden_size", "model.width"},
    {"ffn_hidden_size", "model.hidden"},
    {"intermediate_size", "model.hidden"},
    {"num_attention_heads", "model.query_heads"},
    {"num_query_groups", "model.key_heads"},
    {"num_key_value_heads", "model.key_heads"},
    {"kv_channels", "model.head_size"},
    {"head_dim", "model.head_size"},
    {"vocab_size", "model.vocabulary"},
    {"layernorm_epsilon", "model.norm_epsilon"},
    {"layer_norm_eps", "model.norm_epsilon"},
    {"rope_theta", "model.pattern.0.theta"},
    {"rotary_base", "model.pattern.0.theta"},
    {"sliding_window", "model.pattern.0.window"},
    {"data_path", "data.prefix"},
    {"seq_length", "data.sequence_length"},
    {"seq_len", "data.sequence_length"},
    {"train_iters", "training.steps"},
    {"global_batch_size", "training.batch"},
    {"micro_batch_size", "training.micro_batch"},
    {"lr", "training.learning_rate"},
    {"min_lr", "training.minimum_rate"},
    {"lr_warmup_iters", "training.warmup_steps"},
    {"lr_decay_style", "training.schedule"},
    {"bf16", "training.precision"},
    {"dtype", "training.precision"},
    {"mixed_precision", "training.precision"},
    {"mixed_precision_param", "training.precision"},
    {"clip_grad", "training.clip_norm"},
    {"max_norm", "training.clip_norm"},
    {"data_parallel_size", "parallel.data_parallel"},
    {"context_parallel_size", "parallel.context_parallel"},
    {"context_parallel_degree", "parallel.context_parallel"},
    {"tensor_model_parallel_size", "parallel.tensor_parallel"},
    {"tensor_parallel_degree", "parallel.tensor_parallel"},
    {"eval_interval", "validation.interval"},
    {"eval_iters", "validation.samples"},
    {"save_interval", "checkpoint.interval"},
    {"load", "training.start_from"},
    {"pretrained_checkpoint", "training.start_from"},
    {"save", "output.directory"},
    {"log_freq", "output.log_interval"},
};

void append_leaves(const Descriptor& message, const std::string& path, std::vector<std::string>& out) {
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    const std::string full = join_path(path, field.name());
    if (field.message_type() == nullptr)
      out.push_back(full);
    else
      append_leaves(*field.message_type(), field.is_repeated() ? full + ".0" : full, out);
  }
}

std::string last_part(const std::string& path) { return path.substr(path.rfind('.') + 1); }

}  // namespace

std::string join_path(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : path + "." + std::string(name);
}

std::string value_text(const google::protobuf::Message& message, const FieldDescriptor& field) {
  if (!field.has_default_value() && !message.GetReflection()->HasField(message, &field)) return "nothing";
  std::string text;
  google::protobuf::TextFormat::PrintFieldValueToString(message, &field, -1, &text);
  return text;
}

std::vector<std::string> field_names(const Descriptor& message) {
  std::vector<std::string> names;
  for (int i = 0; i < message.field_count(); ++i) names.push_back(message.field(i)->name());
  return names;
}

std::vector<std::string> value_names(const EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) names.push_back(type.value(i)->name());
  return names;
}

std::string suggest_field(const Descriptor& message, const std::string& path, std::string_view name) {
  const std::string near = nearest_name(name, field_names(message));
  if (!near.empty()) return join_path(path, near);

  std::string plain(name);
  std::replace(plain.begin(), plain.end(), '-', '_');
  for (const auto& [word, field] : kOtherWords)
    if (word == plain) return std::string(field);

  std::vector<std::string> leaves, last_parts;
  append_leaves(*proto::Config::descriptor(), "", leaves);
  for (const std::string& leaf : leaves) last_parts.push_back(last_part(leaf));
  const std::string part = nearest_name(plain, last_parts);
  const auto found = std::find(last_parts.begin(), last_parts.end(), part);
  return part.empty() ? "" : leaves[static_cast<size_t>(found - last_parts.begin())];
}

}  // namespace ropewalk

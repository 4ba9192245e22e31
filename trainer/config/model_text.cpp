#include "trainer/config/model_text.h"

#include <google/protobuf/text_format.h>

#include <algorithm>

#include "configs/ropewalk.pb.h"
#include "kernels/error.h"
#include "trainer/config/config_text.h"

namespace ropewalk {
namespace {

void describe(const LayerKind& layer, proto::Layer& out) {
  if (layer.mask == LayerKind::Mask::kSliding) {
    out.set_mask(proto::SLIDING);
    out.set_window(layer.window);
  } else {
    out.set_mask(proto::FULL);
  }
  if (layer.position == LayerKind::Position::kRope) {
    out.set_position(proto::ROPE);
    out.set_theta(layer.theta);
  } else {
    out.set_position(proto::NONE);
  }
  if (layer.qk_norm == LayerKind::QkNorm::kLayerNorm) out.set_qk_norm(proto::LAYER_NORM);
}

// The least n such that layer i is layer i % n.
size_t period_of(const std::vector<LayerKind>& layers) {
  for (size_t period = 1; period < layers.size(); ++period)
    if (std::equal(layers.begin() + static_cast<std::ptrdiff_t>(period), layers.end(), layers.begin())) return period;
  return layers.size();
}

std::string text_of(const proto::Config& config) {
  std::string text;
  CHECK(google::protobuf::TextFormat::PrintToString(config, &text), "the model cannot be printed");
  return text;
}

proto::Config read_leniently(std::string_view text) {
  Problems untold;
  proto::Config config;
  read_config_text(text, "", config, untold);
  return config;
}

}  // namespace

std::string model_text(const ModelConfig& model) {
  proto::Config config;
  proto::Model& out = *config.mutable_model();
  out.set_layers(static_cast<int64_t>(model.layers.size()));
  out.set_width(model.width);
  out.set_hidden(model.hidden);
  out.set_query_heads(model.query_heads);
  out.set_key_heads(model.key_heads);
  out.set_head_size(model.head_size);
  out.set_vocabulary(model.vocabulary);
  const size_t period = period_of(model.layers);
  for (size_t i = 0; i < period; ++i) describe(model.layers[i], *out.add_pattern());
  out.set_norm_epsilon(model.norm_epsilon);
  out.set_logit_scale(model.logit_scale);
  out.set_initializer_range(model.initializer_range);
  return text_of(config);
}

std::string model_group_of(std::string_view config_text, int64_t steps, const std::string& name) {
  Problems problems;
  proto::Config config, out;
  read_config_text(config_text, name, config, problems);
  problems.throw_if_any(name);
  if (!config.has_model()) throw ConfigurationError(fmt::format("{} has no group model", name));
  *out.mutable_model() = config.model();
  for (const proto::Stage& stage : config.training().stages()) {
    if (stage.first_step() >= steps || !stage.has_theta()) continue;
    for (proto::Layer& layer : *out.mutable_model()->mutable_pattern())
      if (layer.position() == proto::ROPE) layer.set_theta(stage.theta());
  }
  return text_of(out);
}

int64_t longest_sequence_in(std::string_view config_text, int64_t steps) {
  const proto::Config config = read_leniently(config_text);
  int64_t longest = config.data().sequence_length();
  for (const proto::Stage& stage : config.training().stages())
    if (stage.first_step() < steps) longest = std::max(longest, stage.sequence_length());
  return longest;
}

std::string tokenizer_in(std::string_view config_text) { return read_leniently(config_text).data().tokenizer(); }

}  // namespace ropewalk

#include "tests/support/models.h"

#include <random>

#include "kernels/bfloat16.h"

namespace ropewalk {

LayerKind sliding_rope(int64_t window, double theta) {
  return {LayerKind::Mask::kSliding, window, LayerKind::Position::kRope, theta, LayerKind::QkNorm::kOff};
}
LayerKind full_nope() { return {}; }
LayerKind full_rope(double theta) {
  return {LayerKind::Mask::kFull, 0, LayerKind::Position::kRope, theta, LayerKind::QkNorm::kOff};
}
LayerKind with_qk_norm(LayerKind kind) {
  kind.qk_norm = LayerKind::QkNorm::kLayerNorm;
  return kind;
}

ModelConfig small_model(std::vector<LayerKind> layers) {
  ModelConfig model;
  model.layers = std::move(layers);
  model.width = 16;
  model.hidden = 24;
  model.query_heads = 4;
  model.key_heads = 2;
  model.head_size = 4;
  model.vocabulary = 37;
  model.logit_scale = 0.7;
  model.initializer_range = 0.3;
  return model;
}

NaiveWeights rounded_to_bf16(NaiveWeights weights) {
  for (auto& [name, values] : weights)
    for (double& value : values) value = static_cast<float>(BFloat16(static_cast<float>(value)));
  return weights;
}

NaiveWeights random_weights(const ModelConfig& model, uint64_t seed) {
  std::mt19937_64 random(seed);
  NaiveWeights weights;
  for (const auto& [name, shape] : naive_shapes(model)) {
    const bool is_norm = name.find("norm") != std::string::npos;
    std::normal_distribution<double> normal(is_norm ? 1 : 0, is_norm ? 0.2 : model.initializer_range);
    for (int64_t i = 0; i < shape.first * shape.second; ++i) weights[name].push_back(normal(random));
  }
  return weights;
}

Sample random_sample(int64_t length, int64_t vocabulary, const std::vector<int64_t>& document_begins, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<int32_t> token(0, static_cast<int32_t>(vocabulary) - 1);
  Sample sample;
  for (int64_t i = 0; i <= length; ++i) sample.tokens.push_back(token(random));
  sample.targets.assign(sample.tokens.begin() + 1, sample.tokens.end());
  sample.tokens.pop_back();
  sample.document_begin.assign(static_cast<size_t>(length), 0);
  for (int64_t begin : document_begins) {
    CHECK(0 < begin && begin < length, "a document that begins at {} of {} tokens", begin, length);
    sample.targets[static_cast<size_t>(begin) - 1] = -1;
    for (int64_t i = begin; i < length; ++i)
      sample.document_begin[static_cast<size_t>(i)] = static_cast<int32_t>(begin);
  }
  return sample;
}

}  // namespace ropewalk

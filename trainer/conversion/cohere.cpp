// The models of Cohere, in transformers as Cohere (every layer: full attention with RoPE, perhaps QK-Norm) and Cohere2
// (RNoPE-SWA: sliding windows with RoPE, full attention without positions). Our parameters have their tensors' names.
//
// Sources: transformers, models/cohere and models/cohere2 (configuration and modeling), versions 4.48 to 5.24; the
// keys beyond those that transformers reads are those of published checkpoints, which other readers check.
#include <algorithm>

#include "trainer/conversion/family.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

using Mask = LayerKind::Mask;
using Position = LayerKind::Position;
using QkNorm = LayerKind::QkNorm;

constexpr int64_t kMostLayers = 10'000, kMostHeads = 1 << 16, kMostWidth = 1 << 24, kMost32 = (int64_t{1} << 31) - 1;
constexpr const char* kSliding = "sliding_attention";
constexpr const char* kFull = "full_attention";
constexpr int64_t kUsualPattern = 4;  // every fourth layer has full attention
// Keys that say the same as layer_types, in older files.
constexpr const char* kPatternKeys[] = {"sliding_window_pattern", "_sliding_window_pattern", "layer_switch",
                                        "order_of_interleaved_layers"};
// Keys of Cohere2 alone.
constexpr const char* kWindowKeys[] = {"sliding_window",          "layer_types",  "sliding_window_pattern",
                                       "_sliding_window_pattern", "layer_switch", "order_of_interleaved_layers"};

// ---- config.json to a model
// ------------------------------------------------------------------------------------------

// What our block computes is fixed; these keys must say the same.
void check_fixed_keys(ConfigKeys& keys) {
  keys.must_be("hidden_act", {"\"silu\""}, "the MLP is SwiGLU");
  keys.must_be("attention_bias", {"false"}, "there are no biases");
  keys.must_be("attention_dropout", {"0.0", "0"}, "there is no dropout");
  keys.must_be("tie_word_embeddings", {"true"}, "the output layer is the embedding");
  keys.must_be("use_embedding_sharing", {"true"}, "the output layer is the embedding");
  keys.must_be("use_gated_activation", {"true"}, "the MLP is SwiGLU");
  keys.must_be("use_parallel_block", {"true"}, "attention and MLP read the same norm");
  keys.must_be("position_embedding_type", {"\"rope_gptj\""}, "RoPE rotates neighbouring pairs");
  keys.must_be("rotary_pct", {"1.0", "1"}, "RoPE rotates whole heads");
  keys.must_be("rope_parameters.partial_rotary_factor", {"1.0", "1"}, "RoPE rotates whole heads");
  keys.must_be("rope_parameters.rope_type", {"\"default\""}, "RoPE is not scaled; set theta in the configuration");
  keys.must_be("rope_parameters.type", {"\"default\""}, "RoPE is not scaled; set theta in the configuration");
  keys.must_be("rope_scaling", {"null"}, "RoPE is not scaled; set theta in the configuration");
  keys.must_be("is_encoder_decoder", {"false"}, "the model is a decoder");
  keys.must_be("add_cross_attention", {"false"}, "the model is a decoder");
  keys.must_be("pruned_heads", {"{}"}, "no heads are pruned");
  keys.must_be("pretraining_tp", {"1"}, "weights are not sliced");
}

// Keys that do not change what the model computes.
void ignore_keys(ConfigKeys& keys) {
  for (const char* key :
       {"bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "max_position_embeddings", "model_max_length"})
    keys.ignore(key, "kept for the export");
  for (const char* key : {"dtype", "torch_dtype"}) keys.ignore(key, "each tensor keeps its own type");
  for (const char* key : {"use_cache",
                          "cache_implementation",
                          "is_decoder",
                          "decoder_start_token_id",
                          "tokenizer_class",
                          "prefix",
                          "return_dict",
                          "return_dict_in_generate",
                          "output_attentions",
                          "output_hidden_states",
                          "output_scores",
                          "use_bfloat16",
                          "tf_legacy_loss",
                          "torchscript",
                          "chunk_size_feed_forward",
                          "use_parallel_embedding",
                          "cross_attention_hidden_size",
                          "tie_encoder_decoder",
                          "problem_type",
                          "finetuning_task",
                          "task_specific_params",
                          "id2label",
                          "label2id"})
    keys.ignore(key, "how a program uses the model");
  for (const char* key : {"bad_words_ids",
                          "begin_suppress_tokens",
                          "suppress_tokens",
                          "diversity_penalty",
                          "do_sample",
                          "early_stopping",
                          "encoder_no_repeat_ngram_size",
                          "exponential_decay_length_penalty",
                          "forced_bos_token_id",
                          "forced_eos_token_id",
                          "length_penalty",
                          "max_length",
                          "min_length",
                          "no_repeat_ngram_size",
                          "num_beam_groups",
                          "num_beams",
                          "num_return_sequences",
                          "remove_invalid_values",
                          "repetition_penalty",
                          "temperature",
                          "top_k",
                          "top_p",
                          "typical_p"})
    keys.ignore(key, "for generation");
  for (const char* key : {"transformers_version", "_name_or_path", "_attn_implementation_autoset"})
    keys.ignore(key, "about the file");
}

// The theta of RoPE: transformers 5 writes it in rope_parameters, transformers 4 beside the other keys.
double theta_of(ConfigKeys& keys) {
  const std::optional<double> now = keys.positive("rope_parameters.rope_theta"), before = keys.positive("rope_theta");
  if (now && before && *now != *before) keys.refuse("rope_theta", "contradicts rope_parameters.rope_theta");
  // Versions of transformers have different defaults.
  if (!now && !before && !keys.has_refused("rope_parameters.rope_theta"))
    keys.refuse("rope_theta", "is missing, and so is rope_parameters.rope_theta");
  return now.value_or(before.value_or(10'000));
}

// divisible: the width and the number of heads are known, so that their quotient is the default.
void read_head_size(ConfigKeys& keys, ModelConfig& model, bool divisible) {
  const bool has_size = keys.has("head_dim");
  model.head_size = 2;  // until it is known
  if (!has_size && !divisible) return;
  model.head_size = keys.whole_or("head_dim", 1, kMostHeads, std::max<int64_t>(1, model.width / model.query_heads));
  if (!has_size && model.width % model.query_heads != 0)
    keys.refuse("num_attention_heads", fmt::format("must divide hidden_size = {} if head_dim is missing", model.width));
  else if (model.head_size % 2 != 0)
    keys.refuse("head_dim", fmt::format("must be even, because RoPE rotates pairs; {} is odd", model.head_size));
}

ModelConfig read_sizes(ConfigKeys& keys) {
  ModelConfig model;
  model.width = keys.required_whole("hidden_size", 1, kMostWidth);
  model.hidden = keys.required_whole("intermediate_size", 1, kMostWidth);
  model.vocabulary = keys.required_whole("vocab_size", 1, kMost32);
  model.layers.resize(static_cast<size_t>(keys.required_whole("num_hidden_layers", 1, kMostLayers)));
  model.query_heads = keys.required_whole("num_attention_heads", 1, kMostHeads);
  model.key_heads = keys.whole_or("num_key_value_heads", 1, kMostHeads, model.query_heads);
  const bool knows_heads = !keys.has_refused("num_attention_heads");
  if (knows_heads && model.query_heads % model.key_heads != 0)
    keys.refuse("num_key_value_heads", fmt::format("must divide num_attention_heads = {}", model.query_heads));
  read_head_size(keys, model, knows_heads && !keys.has_refused("hidden_size"));
  model.norm_epsilon = keys.positive_or("layer_norm_eps", 1e-5);
  model.logit_scale = keys.positive_or("logit_scale", 0.0625);
  model.initializer_range = keys.positive_or("initializer_range", 0.02);
  return model;
}

ModelConfig read_cohere(ConfigKeys& keys) {
  keys.must_be("architectures", {"[\"CohereForCausalLM\"]"}, "only models of language are read");
  ModelConfig model = read_sizes(keys);
  const double theta = theta_of(keys);
  const bool normed = keys.flag_or("use_qk_norm", false);
  for (LayerKind& layer : model.layers)
    layer = {.position = Position::kRope, .theta = theta, .qk_norm = normed ? QkNorm::kLayerNorm : QkNorm::kOff};
  check_fixed_keys(keys);
  ignore_keys(keys);
  return model;
}

// n of a file without layer_types: every n-th layer has full attention.
int64_t pattern_in(ConfigKeys& keys) {
  const std::string name = keys.has("_sliding_window_pattern") ? "_sliding_window_pattern" : "sliding_window_pattern";
  const int64_t pattern = keys.whole_or(name, 1, kMostLayers, kUsualPattern);
  for (const char* key : {"sliding_window_pattern", "layer_switch"}) {
    if (key == name) continue;
    if (const auto other = keys.whole(key, 1, kMostLayers); other && *other != pattern)
      keys.refuse(key, fmt::format("contradicts {} = {}", name, pattern));
  }
  keys.must_be("order_of_interleaved_layers", {"\"local_attn_first\""}, "full attention comes last in each group");
  return pattern;
}

// Whether each layer has a sliding window. layer_types decides if it is there; older files have a pattern: every n-th
// layer has full attention.
std::vector<bool> sliding_layers(ConfigKeys& keys, size_t layers) {
  std::vector<bool> sliding(layers);
  if (const auto types = keys.texts("layer_types")) {
    for (const char* key : kPatternKeys) keys.ignore(key, "layer_types decides");
    if (types->size() != layers && !keys.has_refused("num_hidden_layers"))
      keys.refuse("layer_types",
                  fmt::format("has {}; num_hidden_layers is {}", counted(types->size(), "entry", "entries"), layers));
    for (size_t i = 0; i < std::min(layers, types->size()); ++i) {
      sliding[i] = (*types)[i] == kSliding;
      if (!sliding[i] && (*types)[i] != kFull)
        keys.refuse("layer_types", fmt::format("must have {} and {} only", kSliding, kFull));
    }
    return sliding;
  }
  const int64_t pattern = pattern_in(keys);
  for (size_t i = 0; i < layers; ++i) sliding[i] = (static_cast<int64_t>(i) + 1) % pattern != 0;
  return sliding;
}

ModelConfig read_cohere2(ConfigKeys& keys) {
  keys.must_be("architectures", {"[\"Cohere2ForCausalLM\"]"}, "only models of language are read");
  ModelConfig model = read_sizes(keys);
  const std::vector<bool> sliding = sliding_layers(keys, model.layers.size());
  if (std::ranges::find(sliding, true) != sliding.end()) {
    const int64_t window = keys.required_whole("sliding_window", 1, kMost32);
    const double theta = theta_of(keys);
    for (size_t i = 0; i < sliding.size(); ++i)
      if (sliding[i])
        model.layers[i] = {.mask = Mask::kSliding, .window = window, .position = Position::kRope, .theta = theta};
  } else {
    for (const char* key : {"sliding_window", "rope_theta", "rope_parameters.rope_theta"})
      keys.ignore(key, "no layer has a window");
  }
  keys.must_be("use_qk_norm", {"false"}, "Cohere2 has no QK-Norm");
  check_fixed_keys(keys);
  ignore_keys(keys);
  return model;
}

// ---- a model to config.json
// ------------------------------------------------------------------------------------------

bool is_sliding(const LayerKind& layer) { return layer.mask == Mask::kSliding; }

std::string cohere_obstacle(const ModelConfig& model) {
  const LayerKind& first = model.layers.front();
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const LayerKind& layer = model.layers[i];
    if (is_sliding(layer)) return fmt::format("layer {} has a sliding window", i);
    if (layer.position != Position::kRope) return fmt::format("layer {} has no positions", i);
    if (layer != first) return fmt::format("layers 0 and {} differ in theta or QK-Norm", i);
  }
  return "";
}

std::string cohere2_obstacle(const ModelConfig& model) {
  const auto first = std::ranges::find_if(model.layers, is_sliding);
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const LayerKind& layer = model.layers[i];
    if (layer.qk_norm != QkNorm::kOff) return fmt::format("layer {} has QK-Norm", i);
    if (is_sliding(layer) && layer.position != Position::kRope)
      return fmt::format("layer {} has a sliding window without RoPE", i);
    if (!is_sliding(layer) && layer.position != Position::kNone)
      return fmt::format("layer {} has full attention with RoPE", i);
    if (is_sliding(layer) && layer != *first)
      return fmt::format("layers {} and {} differ in window or theta", first - model.layers.begin(), i);
  }
  return "";
}

const char* transformers_name(DType type) {
  switch (type) {
    case DType::kBF16:
      return "bfloat16";
    case DType::kF16:
      return "float16";
    case DType::kF64:
      return "float64";
    default:
      return "float32";
  }
}

// The longest context that the file promises: at least the source's, and at least what the model was trained on.
void set_longest(const char* key, int64_t longest, bool always, JsonNode& config) {
  const JsonNode* source = config.find(key);
  const int64_t most = std::max(longest, source ? source->whole : 0);
  if (most > 0 && (source || always)) config.set(key, JsonNode(most));
}

// The keys of both classes, as transformers 4 and 5, vLLM and llama.cpp's converter read them.
void write_shared(const ModelFamily& family, const ModelConfig& model, const ExportFacts& facts, double theta,
                  JsonNode& config) {
  const bool has_source = config.find("model_type");
  config.set("architectures", JsonNode::list({JsonNode(family.architecture)}));
  config.set("model_type", JsonNode(family.model_type));
  config.set("vocab_size", JsonNode(model.vocabulary));
  config.set("hidden_size", JsonNode(model.width));
  config.set("intermediate_size", JsonNode(model.hidden));
  config.set("num_hidden_layers", JsonNode(static_cast<int64_t>(model.layers.size())));
  config.set("num_attention_heads", JsonNode(model.query_heads));
  config.set("num_key_value_heads", JsonNode(model.key_heads));
  config.set("head_dim", JsonNode(model.head_size));
  config.set("hidden_act", JsonNode("silu"));
  config.set("layer_norm_eps", JsonNode(model.norm_epsilon));
  config.set("logit_scale", JsonNode(model.logit_scale));
  config.set("initializer_range", JsonNode(model.initializer_range));
  config.set("attention_bias", JsonNode(false));
  config.set("attention_dropout", JsonNode(0.0));
  config.set("tie_word_embeddings", JsonNode(true));
  config.set("rope_theta", JsonNode(theta));  // transformers 4, vLLM, llama.cpp
  config.set("rope_scaling", JsonNode());
  config.set("rope_parameters",
             JsonNode::object({{"rope_theta", JsonNode(theta)}, {"rope_type", JsonNode("default")}}));  // 5
  config.set("rotary_pct", JsonNode(1.0));  // llama.cpp's converter fails without it
  config.set("torch_dtype", JsonNode(transformers_name(facts.dtype)));
  config.set("dtype", JsonNode(transformers_name(facts.dtype)));
  set_longest("max_position_embeddings", facts.longest_sequence, true, config);
  set_longest("model_max_length", facts.longest_sequence, false, config);
  if (has_source) return;  // what it leaves out has the defaults of its class
  // Without these keys transformers would assume ids of Cohere's tokenizer.
  const JsonNode end = facts.end_of_document ? JsonNode(*facts.end_of_document) : JsonNode();
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"})
    if (!config.find(key)) config.set(key, key[0] == 'e' ? end : JsonNode());
}

void write_cohere(const ModelConfig& model, const ExportFacts& facts, JsonNode& config) {
  const LayerKind& layer = model.layers.front();
  write_shared(cohere_family(), model, facts, layer.theta, config);
  for (const char* key : kWindowKeys) config.remove(key);
  config.set("use_qk_norm", JsonNode(layer.qk_norm == QkNorm::kLayerNorm));
}

bool has_pattern(const std::vector<LayerKind>& layers, int64_t pattern) {
  for (size_t i = 0; i < layers.size(); ++i)
    if (is_sliding(layers[i]) != ((static_cast<int64_t>(i) + 1) % pattern != 0)) return false;
  return true;
}

// n if every n-th layer, and no other, has full attention; else 0.
int64_t pattern_of(const std::vector<LayerKind>& layers) {
  const int64_t until_full = std::ranges::find_if_not(layers, is_sliding) - layers.begin() + 1;
  for (const int64_t pattern : {kUsualPattern, until_full})
    if (has_pattern(layers, pattern)) return pattern;
  return 0;
}

// For a model without RoPE: the theta that its source has all the same.
double unused_theta(const JsonNode& config) {
  const JsonNode* parameters = config.find("rope_parameters");
  for (const JsonNode* theta : {parameters ? parameters->find("rope_theta") : nullptr, config.find("rope_theta")})
    if (theta && theta->number > 0) return theta->number;
  return 10'000;
}

void write_cohere2(const ModelConfig& model, const ExportFacts& facts, JsonNode& config) {
  const auto sliding = std::ranges::find_if(model.layers, is_sliding);
  const bool has_window = sliding != model.layers.end();
  write_shared(cohere2_family(), model, facts, has_window ? sliding->theta : unused_theta(config), config);
  if (has_window) config.set("sliding_window", JsonNode(sliding->window));
  std::vector<JsonNode> types;
  for (const LayerKind& layer : model.layers) types.emplace_back(is_sliding(layer) ? kSliding : kFull);
  config.set("layer_types", JsonNode::list(std::move(types)));
  for (const char* key : kPatternKeys) config.remove(key);
  if (const int64_t pattern = pattern_of(model.layers)) {  // for readers that do not know layer_types
    config.set("sliding_window_pattern", JsonNode(pattern));
    config.set("layer_switch", JsonNode(pattern));
    config.set("order_of_interleaved_layers", JsonNode("local_attn_first"));
  }
  config.set("position_embedding_type", JsonNode("rope_gptj"));
  config.set("use_qk_norm", JsonNode(false));
  config.set("use_embedding_sharing", JsonNode(true));
  config.set("use_gated_activation", JsonNode(true));
  config.set("use_parallel_block", JsonNode(true));
}

std::vector<std::string> head_limits(const ModelConfig& model) {
  if (model.query_heads * model.head_size == model.width) return {};
  return {
      "vLLM, llama.cpp and transformers 4 take the head size to be hidden_size / num_attention_heads, so they cannot "
      "load this model"};
}

std::vector<std::string> cohere2_limits(const ModelConfig& model) {
  std::vector<std::string> limits = head_limits(model);
  if (pattern_of(model.layers) != kUsualPattern)
    limits.push_back("llama.cpp's converter takes every fourth layer to have full attention, which is not so here");
  return limits;
}

// ---- tensors
// ---------------------------------------------------------------------------------------------------------

std::string same_name(const std::string& name) { return name; }

std::optional<std::string> redundant_tensor(const std::string& theirs) {
  if (theirs == "lm_head.weight") return "model.embed_tokens.weight";  // tied
  if (theirs.ends_with("rotary_emb.inv_freq")) return "";              // follows from theta
  return std::nullopt;
}

}  // namespace

const ModelFamily& cohere_family() {
  static const ModelFamily kFamily = {.model_type = "cohere",
                                      .architecture = "CohereForCausalLM",
                                      .read = read_cohere,
                                      .obstacle = cohere_obstacle,
                                      .write = write_cohere,
                                      .limits = head_limits,
                                      .their_name = same_name,
                                      .redundant = redundant_tensor};
  return kFamily;
}

const ModelFamily& cohere2_family() {
  static const ModelFamily kFamily = {.model_type = "cohere2",
                                      .architecture = "Cohere2ForCausalLM",
                                      .read = read_cohere2,
                                      .obstacle = cohere2_obstacle,
                                      .write = write_cohere2,
                                      .limits = cohere2_limits,
                                      .their_name = same_name,
                                      .redundant = redundant_tensor};
  return kFamily;
}

}  // namespace ropewalk

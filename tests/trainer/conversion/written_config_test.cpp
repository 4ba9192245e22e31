// A model of ours to config.json: what is written says the same as the model, whatever the source's file said.
#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/models.h"
#include "tests/trainer/conversion/hugging_face_model.h"
#include "trainer/config/model_text.h"
#include "trainer/conversion/family.h"

namespace ropewalk {
namespace {

// Sources: none, and files of every kind.
std::vector<std::string> sources() {
  return {"{}", json_of(old_keys()), json_of(new_keys()), json_of(cohere_keys()),
          json_of(with(old_keys(), {{"_sliding_window_pattern", "4"}, {"num_hidden_layers", "9"}}))};
}

JsonNode written(const ModelConfig& model, const std::string& source = "{}", const ExportFacts& facts = {}) {
  JsonNode config = parse_json(source);
  family_for(model).write(model, facts, config);
  return config;
}

std::string value(const JsonNode& config, const std::string& key) {
  const JsonNode* node = config.find(key);
  return node ? json_text(*node) : "absent";
}

ModelConfig with_layers(std::vector<LayerKind> layers) {
  ModelConfig model = cohere2_model();
  model.layers = std::move(layers);
  return model;
}

TEST(WrittenConfig, IsReadAsTheSameModel) {
  const LayerKind window = sliding_rope(9, 12345.5), full = full_nope();
  std::vector<ModelConfig> models;
  for (int bits = 0; bits < 32; ++bits) {
    std::vector<LayerKind> layers;
    for (int layer = 0; layer < 5; ++layer) layers.push_back(bits >> layer & 1 ? window : full);
    models.push_back(with_layers(layers));
  }
  models.push_back(with_layers({window}));
  models.push_back(with_layers({full}));
  for (const LayerKind& layer : {full_rope(1e6), with_qk_norm(full_rope(0.1))})
    for (const size_t count : {1, 3}) models.push_back(with_layers(std::vector(count, layer)));
  for (ModelConfig& model : models) {
    model.head_size = 10;
    model.norm_epsilon = 0.1;  // has no finite binary form
    model.logit_scale = 1.0 / 3;
    model.initializer_range = 1e-30;
    for (const std::string& source : sources()) {
      const ReadConfig read = read_config(json_text(written(model, source)));
      EXPECT_EQ(model_text(read.model), model_text(model)) << source;
    }
  }
}

TEST(WrittenConfig, HasWhatOtherProgramsRead) {
  const JsonNode config =
      written(cohere2_model(), "{}", {.dtype = DType::kBF16, .longest_sequence = 99, .end_of_document = 256});
  const Keys kExpected = {
      {"architectures", R"(["Cohere2ForCausalLM"])"},
      {"model_type", R"("cohere2")"},
      {"rope_theta", "50000.0"},
      {"rope_scaling", "null"},
      {"rope_parameters", R"({"rope_theta":50000.0,"rope_type":"default"})"},
      {"rotary_pct", "1.0"},
      {"torch_dtype", R"("bfloat16")"},
      {"dtype", R"("bfloat16")"},
      {"sliding_window", "4"},
      {"sliding_window_pattern", "4"},
      {"layer_switch", "4"},
      {"order_of_interleaved_layers", R"("local_attn_first")"},
      {"layer_types",
       R"(["sliding_attention","sliding_attention","sliding_attention","full_attention","sliding_attention"])"},
      {"head_dim", "6"},
      {"max_position_embeddings", "99"},
      {"model_max_length", "absent"},
      {"eos_token_id", "256"},
      {"bos_token_id", "null"},
      {"pad_token_id", "null"},
      {"tie_word_embeddings", "true"},
      {"use_parallel_block", "true"}};
  for (const auto& [key, expected] : kExpected) EXPECT_EQ(value(config, key), expected) << key;
}

TEST(WrittenConfig, NamesEachType) {
  for (const auto& [dtype, name] : {std::pair(DType::kF32, "\"float32\""), std::pair(DType::kBF16, "\"bfloat16\""),
                                    std::pair(DType::kF16, "\"float16\""), std::pair(DType::kF64, "\"float64\"")})
    for (const char* key : {"torch_dtype", "dtype"})
      EXPECT_EQ(value(written(cohere2_model(), "{}", {.dtype = dtype}), key), name);
}

TEST(WrittenConfig, KeepsOtherKeysOfTheSource) {
  const Keys source = with(old_keys(), {{"my_note", R"({"a":[1,"é"]})"}, {"id2label", R"({"0":"x"})"}});
  const JsonNode config = written(cohere2_model(), json_of(source), {.end_of_document = 1});
  for (const char* key : {"my_note", "id2label", "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version",
                          "use_cache", "cache_implementation"})
    EXPECT_EQ(value(config, key), source.at(key)) << key;
}

// An id that the source leaves out is the default of its class; only a model without a source has none.
TEST(WrittenConfig, LeavesOutTheIdsThatItsSourceLeavesOut) {
  const JsonNode config = written(cohere2_model(), R"({"model_type": "cohere2", "bos_token_id": 7})");
  EXPECT_EQ(value(config, "bos_token_id"), "7");
  EXPECT_EQ(value(config, "eos_token_id"), "absent");
  EXPECT_EQ(value(config, "pad_token_id"), "absent");
  EXPECT_EQ(value(written(cohere2_model()), "eos_token_id"), "null");
}

TEST(WrittenConfig, PromisesTheLongestContext) {
  const std::string source = json_of(with(old_keys(), {{"model_max_length", "1000"}}));
  const auto lengths = [&](const std::string& json, int64_t trained) {
    const JsonNode config = written(cohere2_model(), json, {.longest_sequence = trained});
    return value(config, "max_position_embeddings") + " " + value(config, "model_max_length");
  };
  EXPECT_EQ(lengths(source, 0), "8192 1000");
  EXPECT_EQ(lengths(source, 5000), "8192 5000");
  EXPECT_EQ(lengths(source, 9000), "9000 9000");
  EXPECT_EQ(lengths("{}", 0), "absent absent");
  EXPECT_EQ(lengths("{}", 64), "64 absent");
}

// Readers that do not know layer_types must not believe an old pattern.
TEST(WrittenConfig, DropsAPatternThatNoLongerHolds) {
  const LayerKind window = sliding_rope(4, 50000), full = full_nope();
  const std::string source = json_of(with(old_keys(), {{"_sliding_window_pattern", "4"}}));
  const JsonNode config = written(with_layers({full, window}), source);
  for (const char* key :
       {"sliding_window_pattern", "_sliding_window_pattern", "layer_switch", "order_of_interleaved_layers"})
    EXPECT_EQ(value(config, key), "absent") << key;
  const JsonNode cohere = written(with_layers({full_rope(3)}), source);
  for (const char* key : {"sliding_window", "layer_types", "sliding_window_pattern", "layer_switch"})
    EXPECT_EQ(value(cohere, key), "absent") << key;
  EXPECT_EQ(value(cohere, "rope_theta"), "3.0");
}

TEST(WrittenConfig, FindsThePattern) {
  const LayerKind s = sliding_rope(4, 50000), f = full_nope();
  const std::pair<std::vector<LayerKind>, const char*> kCases[] = {{{f}, "1"},
                                                                   {{s}, "4"},
                                                                   {{f, f, f}, "1"},
                                                                   {{s, s, s}, "4"},
                                                                   {{s, f, s}, "2"},
                                                                   {{s, s, s, f}, "4"},
                                                                   {{s, f, f}, "absent"},
                                                                   {{s, s, f, s, s, s}, "absent"},
                                                                   {{f, s}, "absent"},
                                                                   {{s, s, f, s, s}, "3"}};
  for (const auto& [layers, pattern] : kCases)
    EXPECT_EQ(value(written(with_layers(layers)), "sliding_window_pattern"), pattern) << layers.size();
}

TEST(ModelFamilies, TellWhatTheyCannotExpress) {
  const LayerKind window = sliding_rope(4, 50000);
  LayerKind window_nope = window;
  window_nope.position = LayerKind::Position::kNone;
  window_nope.theta = 0;
  const std::tuple<std::vector<LayerKind>, const char*, const char*> kCases[] = {
      {{window, full_rope(50000)}, "layer 1 has full attention with RoPE", "layer 0 has a sliding window"},
      {{window, sliding_rope(5, 50000)}, "layers 0 and 1 differ in window or theta", "layer 0 has a sliding window"},
      {{full_nope(), window, sliding_rope(4, 9)},
       "layers 1 and 2 differ in window or theta",
       "layer 0 has no positions"},
      {{with_qk_norm(window)}, "layer 0 has QK-Norm", "layer 0 has a sliding window"},
      {{window_nope}, "layer 0 has a sliding window without RoPE", "layer 0 has a sliding window"},
      {{full_rope(1), full_rope(2)},
       "layer 0 has full attention with RoPE",
       "layers 0 and 1 differ in theta or QK-Norm"},
      {{full_rope(1), with_qk_norm(full_rope(1))}, "layer 0 has full attention with RoPE", "layers 0 and 1 differ"},
      {{with_qk_norm(full_nope())}, "layer 0 has QK-Norm", "layer 0 has no positions"}};
  for (const auto& [layers, cohere2, cohere] : kCases)
    expect_error<ConfigurationError>(
        [&] { family_for(with_layers(layers)); },
        {"no family of Hugging Face models expresses this model:", std::string("Cohere2ForCausalLM: ") + cohere2,
         std::string("CohereForCausalLM: ") + cohere});
}

TEST(ModelFamilies, TellWhoCannotLoadTheModel) {
  const LayerKind s = sliding_rope(4, 50000), f = full_nope();
  const auto limits = [](ModelConfig model, int64_t head_size) {
    model.head_size = head_size;
    std::string all;
    for (const std::string& limit : family_for(model).limits(model)) all += limit.substr(0, 9) + ";";
    return all;
  };
  EXPECT_EQ(limits(with_layers({s, s, s, f}), 4), "");
  EXPECT_EQ(limits(with_layers({s, s, s}), 4), "");
  EXPECT_EQ(limits(with_layers({s}), 4), "");
  EXPECT_EQ(limits(with_layers({s, s, s, s}), 4), "llama.cpp;");
  EXPECT_EQ(limits(with_layers({s, f}), 4), "llama.cpp;");
  EXPECT_EQ(limits(with_layers({s, s, s, f}), 6), "vLLM, lla;");
  EXPECT_EQ(limits(with_layers({f}), 6), "vLLM, lla;llama.cpp;");
  EXPECT_EQ(limits(with_layers({full_rope(1)}), 4), "");
  EXPECT_EQ(limits(with_layers({full_rope(1)}), 6), "vLLM, lla;");
}

TEST(ModelFamilies, KnowRedundantTensors) {
  for (const ModelFamily* family : model_families()) {
    EXPECT_EQ(family->redundant("lm_head.weight"), "model.embed_tokens.weight");
    EXPECT_EQ(family->redundant("model.layers.0.self_attn.rotary_emb.inv_freq"), "");
    EXPECT_EQ(family->redundant("model.norm.weight"), std::nullopt);
  }
}

}  // namespace
}  // namespace ropewalk

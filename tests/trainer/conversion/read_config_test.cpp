// config.json of Cohere and Cohere2 to a model: every key, in the form of transformers 4 and 5.
#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/models.h"
#include "tests/trainer/conversion/hugging_face_model.h"
#include "trainer/config/load_config.h"
#include "trainer/config/model_text.h"

namespace ropewalk {
namespace {

const std::string kSliding = "sliding_attention", kFull = "full_attention";

std::string list_of(const std::vector<std::string>& types) {
  std::string text;
  for (const std::string& type : types) text += fmt::format("{}\"{}\"", text.empty() ? "[" : ",", type);
  return text + "]";
}

// 's' and 'f' for the layers with a window and those with full attention.
std::string letters_of(const ModelConfig& model) {
  std::string letters;
  for (const LayerKind& layer : model.layers) letters += layer.mask == LayerKind::Mask::kSliding ? 's' : 'f';
  return letters;
}

// The model of the file, which must be one that the program's own configuration allows, too.
ModelConfig model_of(const Keys& keys) {
  const ModelConfig model = read_config(json_of(keys)).model;
  EXPECT_EQ(model_text(parse_inference_config(model_text(model), "model", {}, {}).model), model_text(model));
  return model;
}

TEST(ReadConfig, OldAndNewKeysGiveTheSameModel) {
  EXPECT_EQ(model_text(model_of(old_keys())), model_text(cohere2_model()));
  EXPECT_EQ(model_text(model_of(new_keys())), model_text(cohere2_model()));
  EXPECT_EQ(model_text(model_of(with(old_keys(), new_keys()))), model_text(cohere2_model()));
  EXPECT_EQ(model_text(model_of(cohere_keys())), model_text(cohere_model()));
}

TEST(ReadConfig, EveryKeyIsTold) {
  for (const Keys& keys : {old_keys(), new_keys(), cohere_keys()}) {
    const ReadConfig read = read_config(json_of(keys));
    for (const auto& [key, value] : keys)
      EXPECT_NE(read.fate_of(key == "rope_parameters" ? key + ".rope_theta" : key), "") << key;
  }
  const ReadConfig read = read_config(json_of(old_keys()));
  EXPECT_EQ(read.fate_of("hidden_size"), "used 16");
  EXPECT_EQ(read.fate_of("rope_scaling"), "used null");
  EXPECT_EQ(read.fate_of("sliding_window_pattern"), "used 4");
  EXPECT_EQ(read.fate_of("eos_token_id"), "ignored kept for the export");
  EXPECT_EQ(read.fate_of("torch_dtype"), "ignored each tensor keeps its own type");
  EXPECT_EQ(read.fate_of("transformers_version"), "ignored about the file");
  EXPECT_EQ(read_config(json_of(new_keys())).fate_of("rope_parameters.rope_theta"), "used 50000.0");
}

TEST(ReadConfig, EverySizeIsRead) {
  for (const auto& [key, value] : Keys{{"hidden_size", "32"},
                                       {"intermediate_size", "7"},
                                       {"vocab_size", "2147483647"},
                                       {"num_attention_heads", "6"},
                                       {"num_key_value_heads", "1"},
                                       {"head_dim", "65536"},
                                       {"layer_norm_eps", "0.5"},
                                       {"logit_scale", "3"},
                                       {"initializer_range", "1e300"}}) {
    const ModelConfig model = model_of(with(new_keys(), {{key, value}}));
    ModelConfig expected = cohere2_model();
    if (key == "hidden_size") expected.width = 32;
    if (key == "intermediate_size") expected.hidden = 7;
    if (key == "vocab_size") expected.vocabulary = 2147483647;
    if (key == "num_attention_heads") expected.query_heads = 6;
    if (key == "num_key_value_heads") expected.key_heads = 1;
    if (key == "head_dim") expected.head_size = 65536;
    if (key == "layer_norm_eps") expected.norm_epsilon = 0.5;
    if (key == "logit_scale") expected.logit_scale = 3;
    if (key == "initializer_range") expected.initializer_range = 1e300;
    EXPECT_EQ(model_text(model), model_text(expected)) << key;
  }
}

TEST(ReadConfig, WhatIsMissingOrNullGetsTheDefaultOfTransformers) {
  const std::vector<std::string> optional = {"num_key_value_heads", "head_dim", "layer_norm_eps", "logit_scale",
                                             "initializer_range"};
  Keys null = new_keys();
  for (const std::string& key : optional) null[key] = "null";
  for (const Keys& keys : {without(new_keys(), optional), null}) {
    const ReadConfig read = read_config(json_of(keys));
    EXPECT_EQ(read.model.key_heads, 4);
    EXPECT_EQ(read.model.head_size, 4);
    EXPECT_EQ(read.model.norm_epsilon, 1e-5);
    EXPECT_EQ(read.model.logit_scale, 0.0625);
    EXPECT_EQ(read.model.initializer_range, 0.02);
  }
  const ReadConfig read = read_config(json_of(without(new_keys(), optional)));
  EXPECT_EQ(read.fate_of("num_key_value_heads"), "assumed 4");
  EXPECT_EQ(read.fate_of("head_dim"), "assumed 4");
  EXPECT_EQ(read.fate_of("logit_scale"), "assumed 0.0625");
  const ReadConfig cohere = read_config(json_of(without(cohere_keys(), {"use_qk_norm"})));
  EXPECT_EQ(cohere.fate_of("use_qk_norm"), "assumed false");
  EXPECT_EQ(cohere.model.layers[0], full_rope(8e6));
}

TEST(ReadConfig, LayerTypesMayHaveAnyOrder) {
  for (int bits = 0; bits < 32; ++bits) {
    std::vector<std::string> types;
    std::string letters;
    for (int layer = 0; layer < 5; ++layer) {
      types.push_back(bits >> layer & 1 ? kSliding : kFull);
      letters += bits >> layer & 1 ? 's' : 'f';
    }
    const ModelConfig model = model_of(with(new_keys(), {{"layer_types", list_of(types)}}));
    EXPECT_EQ(letters_of(model), letters);
    for (const LayerKind& layer : model.layers)
      EXPECT_EQ(layer, layer.mask == LayerKind::Mask::kFull ? full_nope() : sliding_rope(4, 50000));
  }
}

TEST(ReadConfig, APatternSaysWhichLayersAreFull) {
  const Keys bare = without(old_keys(), {"layer_switch", "sliding_window_pattern", "order_of_interleaved_layers"});
  const std::pair<const char*, const char*> kCases[] = {{"1", "fffff"}, {"2", "sfsfs"}, {"3", "ssfss"},
                                                        {"4", "sssfs"}, {"5", "ssssf"}, {"6", "sssss"}};
  for (const auto& [pattern, letters] : kCases) {
    for (const char* key : {"sliding_window_pattern", "_sliding_window_pattern"})
      EXPECT_EQ(letters_of(model_of(with(bare, {{key, pattern}}))), letters);
    const Keys all = {
        {"sliding_window_pattern", pattern}, {"_sliding_window_pattern", pattern}, {"layer_switch", pattern}};
    EXPECT_EQ(letters_of(model_of(with(bare, all))), letters);
  }
  EXPECT_EQ(letters_of(model_of(bare)), "sssfs");
  EXPECT_EQ(read_config(json_of(bare)).fate_of("sliding_window_pattern"), "assumed 4");
}

TEST(ReadConfig, LayerTypesDecideAgainstAPattern) {
  const Keys keys = with(new_keys(), {{"sliding_window_pattern", "2"}, {"layer_switch", "3"}});
  EXPECT_EQ(letters_of(model_of(keys)), "sssfs");
  EXPECT_EQ(read_config(json_of(keys)).fate_of("layer_switch"), "ignored layer_types decides");
}

TEST(ReadConfig, WithoutAWindowThetaIsNotNeeded) {
  const Keys full = with(without(new_keys(), {"sliding_window", "rope_parameters"}),
                         {{"layer_types", list_of({kFull, kFull, kFull, kFull, kFull})}});
  EXPECT_EQ(letters_of(model_of(full)), "fffff");
  const ReadConfig read = read_config(json_of(with(full, {{"sliding_window", "4"}, {"rope_theta", "7"}})));
  EXPECT_EQ(read.fate_of("sliding_window"), "ignored no layer has a window");
  EXPECT_EQ(read.fate_of("rope_theta"), "ignored no layer has a window");
}

TEST(ReadConfig, ThetaMayStandInBothPlaces) {
  const Keys both = with(new_keys(), {{"rope_theta", "50000"}});
  EXPECT_EQ(model_of(both).layers[0].theta, 50000);
  EXPECT_EQ(model_of(with(without(new_keys(), {"rope_parameters"}), {{"rope_theta", "1e6"}})).layers[0].theta, 1e6);
}

TEST(ReadConfig, UnknownKeysThatAreNullSayNothing) {
  const ReadConfig read = read_config(json_of(with(new_keys(), {{"new_feature", "null"}})));
  EXPECT_EQ(read.fate_of("new_feature"), "ignored null");
}

TEST(ReadConfig, KeysAreIgnoredOnDemand) {
  const Keys keys =
      with(new_keys(), {{"new_feature", "17"},
                        {"hidden_act", "\"gelu\""},
                        {"rope_parameters", R"({"rope_theta":50000.0,"rope_type":"yarn","factor":4.0})"}});
  const std::set<std::string> all = {"new_feature", "hidden_act", "rope_parameters.rope_type",
                                     "rope_parameters.factor"};
  const ReadConfig read = read_config(json_of(keys), all);
  EXPECT_EQ(model_text(read.model), model_text(cohere2_model()));
  for (const std::string& key : all) EXPECT_EQ(read.fate_of(key), "ignored as you asked");
  for (const std::string& key : all) {
    std::set<std::string> others = all;
    others.erase(key);
    EXPECT_NE(refusal_of(json_of(keys), others).find("has 1 problem:\n  1. " + key + " = "), std::string::npos) << key;
  }
  EXPECT_NE(refusal_of(json_of(keys), {"absent"}).find("absent is not in the file, so it cannot be ignored"),
            std::string::npos);
}

// With an object, all its members.
TEST(ReadConfig, AnIgnoredObjectIsNotRead) {
  const Keys keys = with(new_keys(), {{"rope_parameters", R"({"rope_theta":1.0,"rope_type":"yarn","factor":4.0})"},
                                      {"rope_theta", "50000"}});
  const ReadConfig read = read_config(json_of(keys), {"rope_parameters"});
  EXPECT_EQ(model_text(read.model), model_text(cohere2_model()));
  EXPECT_EQ(read.fate_of("rope_parameters"), "ignored as you asked");
  EXPECT_EQ(read.fate_of("rope_parameters.rope_theta"), "");
  const Keys no_window = with(keys, {{"layer_types", list_of({kFull, kFull, kFull, kFull, kFull})}});
  EXPECT_EQ(read_config(json_of(no_window), {"rope_parameters"}).fate_of("rope_parameters.rope_theta"), "");
}

TEST(ReadConfig, ALongValueIsCutBetweenCharacters) {
  std::string name = "x";
  for (int i = 0; i < 100; ++i) name += "é";
  for (const std::string& value : {name, "y" + name}) {
    const ReadConfig read = read_config(json_of(with(new_keys(), {{"_name_or_path", "\"" + value + "\""}})));
    for (const KeyReport& report : read.reports) {
      if (report.key != "_name_or_path") continue;
      EXPECT_TRUE(report.value.ends_with("é...")) << report.value;
      EXPECT_LE(report.value.size(), 83u);
    }
  }
}

}  // namespace
}  // namespace ropewalk

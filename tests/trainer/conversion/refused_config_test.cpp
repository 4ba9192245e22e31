// What a config.json may not say: each key that is wrong is named with its value, all of them at once.
#include <gtest/gtest.h>

#include "tests/trainer/conversion/hugging_face_model.h"

namespace ropewalk {
namespace {

// Expects exactly this problem.
void expect_refused(const Keys& keys, const std::string& problem) {
  const std::string message = refusal_of(json_of(keys));
  EXPECT_EQ(message.substr(0, message.find(':')), "config.json has 1 problem") << problem << "\n" << message;
  EXPECT_NE(message.find("\n  1. " + problem), std::string::npos) << problem << "\nis not in: " << message;
}

struct Wrong {
  std::string key, value, rule;
};

TEST(RefusedConfig, WhatTheBlockDoesNotCompute) {
  const Wrong kWrong[] = {
      {"architectures", R"(["Cohere2ForSequenceClassification"])", "must be [\"Cohere2ForCausalLM\"]"},
      {"architectures", R"(["CohereForCausalLM"])", "must be [\"Cohere2ForCausalLM\"]"},
      {"architectures", R"("Cohere2ForCausalLM")", "must be [\"Cohere2ForCausalLM\"]"},
      {"hidden_act", R"("gelu")", "must be \"silu\"; the MLP is SwiGLU"},
      {"attention_bias", "true", "must be false; there are no biases"},
      {"attention_bias", "0", "must be false"},
      {"attention_dropout", "0.1", "must be 0.0 or 0; there is no dropout"},
      {"tie_word_embeddings", "false", "must be true; the output layer is the embedding"},
      {"use_embedding_sharing", "false", "must be true"},
      {"use_gated_activation", "false", "must be true"},
      {"use_parallel_block", "false", "must be true; attention and MLP read the same norm"},
      {"position_embedding_type", R"("rope")", "must be \"rope_gptj\""},
      {"rotary_pct", "0.5", "must be 1.0 or 1"},
      {"use_qk_norm", "true", "must be false; Cohere2 has no QK-Norm"},
      {"is_encoder_decoder", "true", "must be false"},
      {"add_cross_attention", "true", "must be false"},
      {"pruned_heads", R"({"0":[1]})", "must be {}"},
      {"pretraining_tp", "2", "must be 1"},
      {"rope_scaling", R"({"type":"linear","factor":2.0})", "must be null; RoPE is not scaled"},
      {"quantization_config", R"({"quant_method":"fp8"})", ""},
      {"unheard_of", "1", "is not known here"}};
  for (const auto& [key, value, rule] : kWrong) {
    if (key == "quantization_config")
      expect_refused(with(new_keys(), {{key, value}}), key + ".quant_method = \"fp8\": is not known here");
    else
      expect_refused(with(new_keys(), {{key, value}}), key + " = " + value + ": " + rule);
  }
  expect_refused(with(old_keys(), {{"order_of_interleaved_layers", R"("global_attn_first")"}}),
                 "order_of_interleaved_layers = \"global_attn_first\": must be \"local_attn_first\"");
}

TEST(RefusedConfig, EachKindOfScaledRope) {
  for (const char* type : {"linear", "dynamic", "yarn", "longrope", "llama3"})
    for (const char* key : {"rope_type", "type"})
      expect_refused(
          with(new_keys(), {{"rope_parameters", fmt::format(R"({{"rope_theta":50000.0,"{}":"{}"}})", key, type)}}),
          fmt::format("rope_parameters.{} = \"{}\": must be \"default\"; RoPE is not scaled", key, type));
  expect_refused(with(new_keys(), {{"rope_parameters", R"({"rope_theta":50000.0,"partial_rotary_factor":0.5})"}}),
                 "rope_parameters.partial_rotary_factor = 0.5: must be 1.0 or 1; RoPE rotates whole heads");
  expect_refused(with(new_keys(), {{"rope_parameters", R"({"rope_theta":50000.0,"factor":4.0})"}}),
                 "rope_parameters.factor = 4.0: is not known here");
}

TEST(RefusedConfig, ValuesOfAnotherTypeOrOutOfRange) {
  for (const char* key : {"hidden_size", "intermediate_size", "vocab_size", "num_hidden_layers", "num_attention_heads",
                          "num_key_value_heads", "head_dim", "sliding_window"})
    for (const char* value : {"0", "-4", "16.0", "1e1", "\"16\"", "true", "[16]", "{}", "9223372036854775808",
                              "-9223372036854775809", "1000000000000"}) {
      const std::string message = refusal_of(json_of(with(new_keys(), {{key, value}})));
      EXPECT_TRUE(message.starts_with(fmt::format("config.json has 1 problem:\n  1. {} = ", key))) << message;
      EXPECT_NE(message.find(": must be a whole number, at least 1 and at most "), std::string::npos) << message;
    }
  for (const char* key : {"layer_norm_eps", "logit_scale", "initializer_range"})
    for (const char* value : {"0", "0.0", "-1.5", "\"1\"", "true", "[1]"})
      expect_refused(with(new_keys(), {{key, value}}),
                     fmt::format("{} = {}: must be a number greater than 0, and finite", key, value));
  for (const char* value : {"0", "-1", "\"50000\""})
    expect_refused(with(old_keys(), {{"rope_theta", value}}),
                   fmt::format("rope_theta = {}: must be a number greater than 0, and finite", value));
  expect_refused(with(new_keys(), {{"rope_parameters", R"({"rope_theta":0.0})"}}),
                 "rope_parameters.rope_theta = 0.0: must be a number greater than 0");
  expect_refused(with(cohere_keys(), {{"use_qk_norm", "1"}}), "use_qk_norm = 1: must be true or false");
}

TEST(RefusedConfig, SizesThatDoNotFitEachOther) {
  expect_refused(with(new_keys(), {{"num_key_value_heads", "3"}}),
                 "num_key_value_heads = 3: must divide num_attention_heads = 4");
  expect_refused(with(without(new_keys(), {"head_dim"}), {{"hidden_size", "18"}}),
                 "num_attention_heads = 4: must divide hidden_size = 18 if head_dim is missing");
  expect_refused(with(new_keys(), {{"head_dim", "5"}}), "head_dim = 5: must be even");
  expect_refused(with(without(new_keys(), {"head_dim"}), {{"hidden_size", "12"}}),
                 "head_dim must be even, because RoPE rotates pairs; 3 is odd");
}

TEST(RefusedConfig, WhatIsMissing) {
  for (const char* key : {"hidden_size", "intermediate_size", "vocab_size", "num_hidden_layers", "num_attention_heads",
                          "sliding_window"}) {
    expect_refused(without(old_keys(), {key}), fmt::format("{} is missing", key));
    expect_refused(with(old_keys(), {{key, "null"}}), fmt::format("{} = null: is missing", key));
    // No other problem follows from it.
    if (key != std::string("sliding_window"))
      expect_refused(without(with(old_keys(), {{"head_dim", "null"}}), {key}), fmt::format("{} is missing", key));
  }
  expect_refused(without(old_keys(), {"rope_theta"}), "rope_theta is missing, and so is rope_parameters.rope_theta");
  expect_refused(without(cohere_keys(), {"rope_theta"}), "rope_theta is missing");
}

TEST(RefusedConfig, Contradictions) {
  expect_refused(with(new_keys(), {{"rope_theta", "10000"}}),
                 "rope_theta = 10000: contradicts rope_parameters.rope_theta");
  expect_refused(with(old_keys(), {{"layer_switch", "3"}}), "layer_switch = 3: contradicts sliding_window_pattern = 4");
  expect_refused(with(old_keys(), {{"_sliding_window_pattern", "4"}, {"sliding_window_pattern", "2"}}),
                 "sliding_window_pattern = 2: contradicts _sliding_window_pattern = 4");
}

TEST(RefusedConfig, LayerTypes) {
  const auto refuse = [](const std::string& types, const std::string& rule) {
    const std::string message = refusal_of(json_of(with(new_keys(), {{"layer_types", types}})));
    EXPECT_NE(message.find("\n  1. layer_types = "), std::string::npos) << message;
    EXPECT_NE(message.find(rule), std::string::npos) << message;
  };
  const std::string full = R"("full_attention")";
  refuse("[" + full + "]", "has 1 entry; num_hidden_layers is 5");
  refuse("[]", "has 0 entries; num_hidden_layers is 5");
  refuse(fmt::format("[{0},{0},{0},{0},{0},{0}]", full), "has 6 entries; num_hidden_layers is 5");
  refuse(fmt::format(R"([{0},{0},"chunked_attention",{0},{0}])", full),
         "must have sliding_attention and full_attention only");
  refuse(fmt::format("[{0},{0},1,{0},{0}]", full), "must be a list of strings");
  refuse(full, "must be a list of strings");
}

TEST(RefusedConfig, ModelsOfOtherFamilies) {
  const std::string known = "the known ones are cohere2 and cohere";
  EXPECT_EQ(refusal_of(json_of(with(new_keys(), {{"model_type", "\"llama\""}}))),
            "config.json: model_type is \"llama\"; " + known);
  for (const Keys& keys : {without(new_keys(), {"model_type"}), with(new_keys(), {{"model_type", "null"}}),
                           with(new_keys(), {{"model_type", "2"}})})
    EXPECT_EQ(refusal_of(json_of(keys)), "config.json: model_type is missing, or no string; " + known);
}

TEST(RefusedConfig, TellsAllProblemsAtOnce) {
  const Keys wrong = {{"attention_bias", "true"}, {"vocab_size", "-1"}, {"unheard_of", "{\"a\": 1}"},
                      {"logit_scale", "null"},    {"head_dim", "7"},    {"hidden_act", "\"relu\""}};
  const std::string message = refusal_of(json_of(with(new_keys(), wrong)));
  EXPECT_NE(message.find("config.json has 5 problems:\n"), std::string::npos) << message;
  for (const char* key :
       {"attention_bias = true", "vocab_size = -1", "unheard_of.a = 1", "head_dim = 7", "hidden_act = \"relu\""})
    EXPECT_NE(message.find(key), std::string::npos) << message;
}

TEST(RefusedConfig, ThousandsOfKeysAreRefusedAtOnce) {
  Keys many = new_keys(), null = new_keys();
  for (int i = 0; i < 80'000; ++i) {
    many[fmt::format("k{:x}", i)] = "1";
    null[fmt::format("k{:x}", i)] = "null";
  }
  // Each would take some ten seconds if every key were searched among all.
  const std::string message = refusal_of(json_of(many));
  EXPECT_NE(message.find("config.json has 80000 problems:\n  1. k0 = 1: "), std::string::npos);
  EXPECT_NE(message.find("\n  ... and 79900 more"), std::string::npos);
  EXPECT_EQ(refusal_of(json_of(null)), "");
}

TEST(RefusedConfig, NamesAndValuesArePrintable) {
  const std::string message = refusal_of(json_of(with(new_keys(), {{R"(a\u001b[31m)", R"("b\u0007")"}})));
  EXPECT_NE(message.find(R"(a\x1b[31m = "b\u0007": is not known here)"), std::string::npos) << message;
}

}  // namespace
}  // namespace ropewalk

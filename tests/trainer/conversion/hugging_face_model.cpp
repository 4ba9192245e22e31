#include "tests/trainer/conversion/hugging_face_model.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "tests/support/models.h"
#include "tests/support/temporary_directory.h"
#include "trainer/conversion/family.h"
#include "trainer/files/crc32c.h"
#include "trainer/formats/elements.h"
#include "trainer/formats/safetensors.h"

namespace ropewalk {
namespace {

const Keys kBothKeys = {{"architectures", R"(["Cohere2ForCausalLM"])"},
                        {"attention_bias", "false"},
                        {"attention_dropout", "0.0"},
                        {"bos_token_id", "5"},
                        {"eos_token_id", "36"},
                        {"head_dim", "6"},
                        {"hidden_act", R"("silu")"},
                        {"hidden_size", "16"},
                        {"initializer_range", "0.03"},
                        {"intermediate_size", "24"},
                        {"layer_norm_eps", "1e-06"},
                        {"logit_scale", "0.25"},
                        {"max_position_embeddings", "8192"},
                        {"model_type", R"("cohere2")"},
                        {"num_attention_heads", "4"},
                        {"num_hidden_layers", "5"},
                        {"num_key_value_heads", "2"},
                        {"pad_token_id", "0"},
                        {"sliding_window", "4"},
                        {"use_cache", "true"},
                        {"vocab_size", "37"}};

HuggingFaceModel random_model(Keys config, const ModelConfig& model, DType dtype) {
  HuggingFaceModel out{std::move(config), {}};
  for (const auto& [name, shape] : naive_shapes(model)) {
    const bool is_norm = name.find("layernorm") != std::string::npos || name == "model.norm.weight";
    std::vector<int64_t> extents = {shape.first, shape.second};
    if (is_norm) extents.erase(extents.begin());
    out.tensors[name] = random_tensor(dtype, std::move(extents), crc32c(name));
  }
  return out;
}

}  // namespace

Keys old_keys() {
  return with(kBothKeys, {{"cache_implementation", R"("hybrid")"},
                          {"layer_switch", "4"},
                          {"order_of_interleaved_layers", R"("local_attn_first")"},
                          {"position_embedding_type", R"("rope_gptj")"},
                          {"rope_scaling", "null"},
                          {"rope_theta", "50000"},
                          {"rotary_pct", "1.0"},
                          {"sliding_window_pattern", "4"},
                          {"torch_dtype", R"("bfloat16")"},
                          {"transformers_version", R"("4.48.0")"},
                          {"use_embedding_sharing", "true"},
                          {"use_gated_activation", "true"},
                          {"use_parallel_block", "true"},
                          {"use_parallel_embedding", "true"}});
}

Keys new_keys() {
  return with(
      kBothKeys,
      {{"dtype", R"("bfloat16")"},
       {"layer_types",
        R"(["sliding_attention","sliding_attention","sliding_attention","full_attention","sliding_attention"])"},
       {"rope_parameters", R"({"rope_theta":50000.0,"rope_type":"default"})"},
       {"tie_word_embeddings", "true"},
       {"transformers_version", R"("5.24.0")"}});
}

Keys cohere_keys() {
  return without(with(kBothKeys, {{"architectures", R"(["CohereForCausalLM"])"},
                                  {"model_type", R"("cohere")"},
                                  {"num_hidden_layers", "2"},
                                  {"rope_theta", "8000000.0"},
                                  {"use_qk_norm", "true"}}),
                 {"sliding_window"});
}

Keys with(Keys keys, const Keys& changes) {
  for (const auto& [key, value] : changes) keys[key] = value;
  return keys;
}

Keys without(Keys keys, const std::vector<std::string>& removed) {
  for (const std::string& key : removed) EXPECT_EQ(keys.erase(key), 1u) << key;
  return keys;
}

std::string json_of(const Keys& keys) {
  std::vector<std::string> members;
  for (const auto& [key, value] : keys) members.push_back(fmt::format("\"{}\": {}", key, value));
  return fmt::format("{{{}}}", fmt::join(members, ",\n"));
}

ModelConfig cohere2_model() {
  const LayerKind window = sliding_rope(4, 50000);
  ModelConfig model = small_model({window, window, window, full_nope(), window});
  model.head_size = 6;
  model.norm_epsilon = 1e-6;
  model.logit_scale = 0.25;
  model.initializer_range = 0.03;
  return model;
}

ModelConfig cohere_model() {
  ModelConfig model = cohere2_model();
  model.layers.assign(2, with_qk_norm(full_rope(8e6)));
  return model;
}

std::string ReadConfig::fate_of(const std::string& key) const {
  std::string fate;
  for (const KeyReport& report : reports) {
    if (report.key != key) continue;
    EXPECT_EQ(fate, "") << key << " is told twice";
    if (report.fate == KeyFate::kIgnored) fate = "ignored " + report.note;
    if (report.fate == KeyFate::kUsed) fate = "used " + report.value;
    if (report.fate == KeyFate::kAssumed) fate = "assumed " + report.value;
  }
  return fate;
}

ReadConfig read_config(const std::string& json, const std::set<std::string>& ignored) {
  const JsonNode config = parse_json(json);
  ConfigKeys keys(config, ignored);
  const ModelFamily& family = family_of_type(keys.text("model_type").value_or(""), "config.json");
  ModelConfig model = family.read(keys);
  keys.finish("config.json");
  return {std::move(model), keys.reports()};
}

std::string refusal_of(const std::string& json, const std::set<std::string>& ignored) {
  try {
    read_config(json, ignored);
    return "";
  } catch (const ConfigurationError& error) {
    return error.what();
  }
}

TensorBytes random_tensor(DType dtype, std::vector<int64_t> shape, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  std::string bytes(static_cast<size_t>(count * size_of(dtype)), '\0');
  convert_elements(reinterpret_cast<const uint8_t*>(values.data()), DType::kF32,
                   reinterpret_cast<uint8_t*>(bytes.data()), dtype, count);
  return {safetensors_name(dtype), std::move(shape), std::move(bytes)};
}

void write_safetensors(const std::filesystem::path& file, const TensorMap& tensors) {
  std::string header = R"({"__metadata__":{"format":"pt"})", data;
  for (const auto& [name, tensor] : tensors) {
    header += fmt::format(R"(,"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", name, tensor.dtype,
                          fmt::join(tensor.shape, ","), data.size(), data.size() + tensor.bytes.size());
    data += tensor.bytes;
  }
  header += "}";
  const uint64_t length = header.size();
  std::string prefix(8, '\0');
  std::memcpy(prefix.data(), &length, 8);
  write_file(file, prefix + header + data);
}

void HuggingFaceModel::write_small_files(const std::filesystem::path& directory) const {
  std::filesystem::create_directories(directory);
  write_file(directory / "config.json", json_of(config));
  for (const auto& [name, bytes] : files) {
    std::filesystem::create_directories((directory / name).parent_path());
    write_file(directory / name, bytes);
  }
}

void HuggingFaceModel::write(const std::filesystem::path& directory, size_t shards) const {
  write_small_files(directory);
  if (shards == 1) return write_safetensors(directory / "model.safetensors", tensors);
  std::vector<TensorMap> parts(shards);
  Keys index;
  size_t next = 0;
  for (const auto& [name, tensor] : tensors) {
    parts[next % shards][name] = tensor;
    index[name] = fmt::format("\"model-{:05}-of-{:05}.safetensors\"", next++ % shards + 1, shards);
  }
  for (size_t i = 0; i < shards; ++i)
    write_safetensors(directory / fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards), parts[i]);
  write_file(directory / "model.safetensors.index.json",
             fmt::format(R"({{"metadata": {{"total_size": 1}}, "weight_map": {}}})", json_of(index)));
}

HuggingFaceModel small_cohere2(DType dtype) { return random_model(new_keys(), cohere2_model(), dtype); }
HuggingFaceModel small_cohere(DType dtype) { return random_model(cohere_keys(), cohere_model(), dtype); }

TensorMap tensors_in(const std::filesystem::path& directory) {
  TensorMap tensors;
  for (const std::string& name : list_directory(directory)) {
    if (!name.ends_with(".safetensors")) continue;
    const InputFile file(real_file_system(), directory / name);
    const SafetensorsHeader header = read_safetensors_header(file);
    const std::string bytes = read_file(directory / name);
    for (const SafetensorsEntry& entry : header.entries) {
      const auto begin = static_cast<size_t>(header.data_begin + entry.begin);
      TensorBytes tensor{entry.dtype, entry.shape, bytes.substr(begin, static_cast<size_t>(entry.end - entry.begin))};
      EXPECT_TRUE(tensors.try_emplace(entry.name, std::move(tensor)).second) << entry.name << " is in two files";
    }
  }
  return tensors;
}

}  // namespace ropewalk

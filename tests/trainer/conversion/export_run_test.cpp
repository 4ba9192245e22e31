// Exports of checkpoints that a run on a mesh of eight ranks wrote.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/expect_error.h"
#include "tests/support/naive_model.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/training.h"
#include "tests/trainer/conversion/hugging_face_model.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/config/load_config.h"
#include "trainer/conversion/export_model.h"
#include "trainer/files/crc32c.h"

namespace ropewalk {
namespace {

constexpr char kRun[] = R"(
model {
  layers: 3 width: 16 hidden: 24 query_heads: 4 key_heads: 2 head_size: 4 vocabulary: 257 norm_epsilon: 1e-6
  pattern { mask: SLIDING window: 5 position: ROPE theta: 10000 }
  pattern { mask: FULL }
}
data { prefix: "text" sequence_length: 32 }
training {
  steps: 10 batch: 2
  stages { first_step: 3 sequence_length: 64 theta: 777 }
  stages { first_step: 6 sequence_length: 48 theta: 999.5 }
}
parallel { data_parallel: 2 context_parallel: 2 tensor_parallel: 2 }
validation { position_ranges: 1 }
output { directory: "run" }
)";

// A value of its own for each element, also in fp32.
double value_of(const std::string& name, int64_t row, int64_t column) {
  return 1 + crc32c(name) % 997 / 150.0 + static_cast<double>(row) / 512 + static_cast<double>(column) / (1 << 16);
}

template <typename Scalar>
std::string bytes_of(const std::string& name, const Box& box) {
  std::string bytes;
  for (int64_t row = box.row_begin; row < box.row_end; ++row)
    for (int64_t column = box.column_begin; column < box.column_end; ++column) {
      const auto value = static_cast<Scalar>(value_of(name, row, column));
      bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
  return bytes;
}

class ExportOfARun : public testing::Test {
 protected:
  Config config_with(const std::vector<std::string>& overrides) { return parse_config(kRun, "run", overrides, 8); }

  // Saves a checkpoint as a run does, with the values above.
  template <typename Scalar>
  void save(const Config& config, int64_t step, const std::vector<SourceFile>& source_files = {},
            const std::optional<TokenizerOfData>& tokenizer = {}) {
    run_ranks(8, [&](const std::shared_ptr<Communicator>& world) {
      RankOnThread rank(config, world);
      Trainer trainer(config, rank.rank());
      trainer.initialize();
      for (const StateTensor& tensor : trainer.state())
        if (tensor.name.starts_with("model."))
          rank.kernels().upload(bytes_of<Scalar>(tensor.name, tensor.box).data(), tensor.data);
      save_checkpoint(directory_.path(), {step, 2 * step, 64 * step}, trainer.state(),
                      {config.resolved_text, {}, source_files, tokenizer}, rank.mesh(), rank.kernels());
    });
  }

  ExportReport export_step(int64_t step, const ExportOptions& options = {}) {
    std::filesystem::remove_all(directory_ / "out");
    return export_model(checkpoint_path(directory_.path(), step), directory_ / "out", options, no_progress);
  }
  std::string value(const std::string& key) {
    const JsonNode config = parse_json(read_file(directory_ / "out" / "config.json"));
    return config.find(key) ? json_text(*config.find(key)) : "absent";
  }

  template <typename Scalar>
  void expect_the_runs_weights(const ModelConfig& model) {
    const TensorMap tensors = tensors_in(directory_ / "out");
    const auto shapes = naive_shapes(model);
    ASSERT_EQ(tensors.size(), shapes.size());
    for (const auto& [name, shape] : shapes) {
      EXPECT_EQ(tensors.at(name).bytes, bytes_of<Scalar>(name, {0, shape.first, 0, shape.second})) << name;
      EXPECT_EQ(tensors.at(name).dtype, sizeof(Scalar) == 8 ? "F64" : "F32");
    }
  }

  TemporaryDirectory directory_;
};

TEST_F(ExportOfARun, HasTheWeightsOfEveryRank) {
  Config config = config_with({});
  config.parallel.bucket_parameters = 0;  // small parts, which begin and end within rows
  config.parallel.backend = BackendKind::kReferenceF64;
  save<double>(config, 1);
  const ExportReport report = export_step(1);
  EXPECT_EQ(report.step, 1);
  EXPECT_EQ(report.types, std::vector<std::string>{"F64"});
  expect_the_runs_weights<double>(config.model);
  config.parallel.backend = BackendKind::kCpu;
  save<float>(config, 2);
  export_step(2, {.most_shard_bytes = 4000});
  expect_the_runs_weights<float>(config.model);
  EXPECT_EQ(value("layer_norm_eps"), "1e-06");
}

TEST_F(ExportOfARun, HasTheThetaAndTheLengthsThatTheRunHadReached) {
  Config config = config_with({});
  config.parallel.backend = BackendKind::kCpu;
  for (const auto& [step, theta, longest] : {std::tuple(1, "10000.0", "32"),
                                             {3, "10000.0", "32"},
                                             {4, "777.0", "64"},
                                             {6, "777.0", "64"},
                                             {7, "999.5", "64"},
                                             {10, "999.5", "64"}}) {
    save<float>(config, step);
    export_step(step);
    EXPECT_EQ(value("rope_theta"), theta) << step;
    EXPECT_EQ(value("rope_parameters"), fmt::format(R"({{"rope_theta":{},"rope_type":"default"}})", theta));
    EXPECT_EQ(value("max_position_embeddings"), longest) << step;
    EXPECT_EQ(value("sliding_window"), "5");
  }
}

// From the data, whatever data.tokenizer is; checkpoints that are older than that have only data.tokenizer.
TEST_F(ExportOfARun, KnowsTheEndOfADocument) {
  using Known = std::optional<TokenizerOfData>;
  const TokenizerIdentity identity = {"tokenizer.json", "0123", 200};
  for (const auto& [tokenizer, known, end] : {std::tuple("bytes", Known(), "256"),
                                              {"none", Known(), "null"},
                                              {"none", Known({identity, 7}), "7"},
                                              {"bytes", Known({identity, {}}), "null"}}) {
    Config config = config_with({fmt::format("data.tokenizer=\"{}\"", tokenizer), "validation.sample_tokens=0"});
    config.parallel.backend = BackendKind::kCpu;
    save<float>(config, 1, {}, known);
    export_step(1);
    EXPECT_EQ(value("eos_token_id"), end);
    const JsonNode generation = parse_json(read_file(directory_ / "out" / "generation_config.json"));
    EXPECT_EQ(json_text(*generation.find("eos_token_id")), end);
  }
}

// A run that started from an imported model carries its files along.
TEST_F(ExportOfARun, KeepsTheSourcesFiles) {
  Config config = config_with({});
  config.parallel.backend = BackendKind::kCpu;
  const std::vector<SourceFile> files = {{"config.json", json_of(with(old_keys(), {{"vocab_size", "257"}}))},
                                         {"tokenizer.json", "tokens"},
                                         {"generation_config.json", "{\"eos_token_id\": 36}"}};
  save<float>(config, 7, files);
  export_step(7);
  EXPECT_EQ(read_file(directory_ / "out" / "tokenizer.json"), "tokens");
  EXPECT_EQ(read_file(directory_ / "out" / "generation_config.json"), files[2].bytes);
  for (const auto& [key, expected] : Keys{{"eos_token_id", "36"},
                                          {"max_position_embeddings", "8192"},
                                          {"rope_theta", "999.5"},
                                          {"num_hidden_layers", "3"},
                                          {"sliding_window_pattern", "2"},
                                          {"torch_dtype", "\"float32\""}})
    EXPECT_EQ(value(key), expected) << key;
}

TEST_F(ExportOfARun, OfAModelOfNoFamilyIsRefused) {
  Config config = config_with({"model.pattern.1.position=ROPE", "model.pattern.1.theta=5"});
  config.parallel.backend = BackendKind::kCpu;
  save<float>(config, 1);
  expect_error<ConfigurationError>([&] { export_step(1); }, {"no family of Hugging Face models expresses this model",
                                                             "Cohere2ForCausalLM: layer 1 has full attention with RoPE",
                                                             "CohereForCausalLM: layer 0 has a sliding window"});
  EXPECT_EQ(directory_.names(), std::vector<std::string>{"step-00000001"});
}

TEST_F(ExportOfARun, WithTensorsOfAnotherModelIsRefused) {
  const Config config = config_with({});
  for (const auto& [layers, problem] :
       {std::pair(2, "has no tensor \"model.layers.2."), std::pair(4, "has a tensor \"model.layers.3.")}) {
    Config other = config_with({fmt::format("model.layers={}", layers)});
    other.parallel.backend = BackendKind::kCpu;
    other.resolved_text = config.resolved_text;
    save<float>(other, layers);
    expect_error<CheckpointError>([&] { export_step(layers); }, {problem});
  }
}

}  // namespace
}  // namespace ropewalk

// An import keeps the bits of every tensor, and carries the small files along.
#include <gtest/gtest.h>

#include <random>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/conversion/hugging_face_model.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/source_files.h"
#include "trainer/config/load_config.h"
#include "trainer/config/model_text.h"
#include "trainer/conversion/import_model.h"
#include "trainer/files/crc32c.h"
#include "trainer/files/input_file.h"

namespace ropewalk {
namespace {

namespace fs = std::filesystem;

class Import : public testing::Test {
 protected:
  fs::path source() const { return directory_ / "model"; }
  fs::path checkpoint() const { return directory_ / "checkpoint"; }

  ImportReport run(const std::set<std::string>& ignored = {}) {
    return import_model(source(), checkpoint(), ignored, no_progress);
  }
  // Expects a checkpoint with exactly these tensors.
  void expect_tensors(const TensorMap& expected) {
    EXPECT_EQ(tensors_in(checkpoint()), expected);
    const Manifest manifest = read_manifest(real_file_system(), checkpoint());
    EXPECT_EQ(manifest.tensors.size(), expected.size());
    for (const ManifestTensor& tensor : manifest.tensors) EXPECT_TRUE(expected.contains(tensor.name)) << tensor.name;
  }

  TemporaryDirectory directory_;
};

// All bit patterns, NaNs among them.
void randomize(TensorMap& tensors) {
  std::mt19937_64 random(3);
  for (auto& [_, tensor] : tensors)
    for (char& byte : tensor.bytes) byte = static_cast<char>(random());
}

TEST_F(Import, KeepsTheBitsInEveryType) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kF64}) {
    HuggingFaceModel model = small_cohere2(dtype);
    randomize(model.tensors);
    model.write(source());
    const ImportReport report = run();
    expect_tensors(model.tensors);
    EXPECT_EQ(report.types, (std::vector<std::string>{model.tensors.begin()->second.dtype}));
    int64_t bytes = 0;
    for (const auto& [_, tensor] : model.tensors) bytes += static_cast<int64_t>(tensor.bytes.size());
    EXPECT_EQ(report.bytes, bytes);
    EXPECT_EQ(report.parameters, bytes / size_of(dtype));
    fs::remove_all(checkpoint());
  }
}

TEST_F(Import, KeepsEachTensorsOwnType) {
  HuggingFaceModel model = small_cohere2();
  const DType types[] = {DType::kBF16, DType::kF32, DType::kF16, DType::kF64};
  size_t next = 0;
  for (auto& [_, tensor] : model.tensors) {
    tensor = random_tensor(types[next % 4], tensor.shape, next);
    ++next;
  }
  model.write(source(), 3);
  EXPECT_EQ(run().types, (std::vector<std::string>{"F64", "F32", "BF16", "F16"}));
  expect_tensors(model.tensors);
}

TEST_F(Import, ReadsShards) {
  const HuggingFaceModel model = small_cohere(DType::kF16);
  for (const size_t shards : {2, 7, 20}) {
    model.write(source(), shards);
    run();
    expect_tensors(model.tensors);
    fs::remove_all(checkpoint());
    fs::remove_all(source());
  }
}

// Hugging Face's cache has files named by their hashes, and links to them.
TEST_F(Import, FollowsLinks) {
  HuggingFaceModel model = small_cohere2();
  model.files = {{"tokenizer.json", "{}"}, {"additional_chat_templates/rag.jinja", "{{ x }}"}};
  model.write(directory_ / "blobs", 2);
  fs::create_directory(source());
  for (const std::string& name : list_directory(directory_ / "blobs"))
    fs::create_symlink(fs::path("../blobs") / name, source() / name);
  fs::create_directory_symlink(source(), directory_ / "link");
  const ImportReport report = import_model(directory_ / "link", checkpoint(), {}, no_progress);
  expect_tensors(model.tensors);
  EXPECT_EQ(report.carried.size(), 3u);
}

TEST_F(Import, TheManifestDescribesTheModel) {
  small_cohere2().write(source());
  run();
  const Manifest manifest = read_manifest(real_file_system(), checkpoint());
  EXPECT_EQ(manifest.progress, TrainingProgress());
  EXPECT_EQ(manifest.mesh.size(), 1);
  EXPECT_EQ(model_text(parse_inference_config(manifest.run.config_text, "config", {}, {}).model),
            model_text(cohere2_model()));
  EXPECT_EQ(manifest.files.size(), 1u);
  EXPECT_EQ(list_directory(checkpoint()),
            (std::vector<std::string>{"huggingface", kManifestName, "model.safetensors"}));
}

TEST_F(Import, CarriesSmallFilesAndTellsWhatItLeaves) {
  HuggingFaceModel model = small_cohere2();
  const std::map<std::string, std::string> carried = {{"generation_config.json", "{\"eos_token_id\": 1}"},
                                                      {"tokenizer.json", std::string(100'000, 't')},
                                                      {"tokenizer_config.json", ""},
                                                      {"special_tokens_map.json", "{"},
                                                      {"chat_template.jinja", "{{ messages }}"},
                                                      {"additional_chat_templates/tool_use.jinja", "{% for %}"},
                                                      {"additional_chat_templates/rag.jinja", "r"},
                                                      {"LICENSE.txt", "free\n"}};
  model.files = carried;
  model.files["README.md"] = "card";
  model.files["pytorch_model.bin"] = "old";
  model.files["additional_chat_templates/notes.txt"] = "n";
  model.files["additional_chat_templates/.hidden.jinja"] = "n";
  model.files["figures/plot.png"] = "p";
  model.files[".gitattributes"] = "g";
  model.write(source());
  fs::create_directory(source() / "LICENSES");
  const ImportReport report = run();
  EXPECT_EQ(report.left_behind,
            (std::vector<std::string>{"LICENSES", "README.md", "additional_chat_templates/.hidden.jinja",
                                      "additional_chat_templates/notes.txt", "figures", "pytorch_model.bin"}));
  const Manifest manifest = read_manifest(real_file_system(), checkpoint());
  const auto files = read_source_files(real_file_system(), checkpoint(), manifest.source_files);
  ASSERT_EQ(files.size(), carried.size() + 1);  // and config.json
  EXPECT_EQ(report.carried.size(), files.size());
  for (const SourceFile& file : files) {
    if (file.name == "config.json")
      EXPECT_EQ(file.bytes, json_of(model.config));
    else
      EXPECT_EQ(file.bytes, carried.at(file.name)) << file.name;
  }
}

TEST_F(Import, LeavesOutACopyOfTheEmbeddingAndRotaryFrequencies) {
  const HuggingFaceModel model = small_cohere2();
  HuggingFaceModel more = model;
  more.tensors["lm_head.weight"] = model.tensors.at("model.embed_tokens.weight");
  more.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = random_tensor(DType::kF32, {3}, 1);
  more.write(source());
  EXPECT_EQ(run().redundant,
            (std::vector<std::string>{"lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"}));
  expect_tensors(model.tensors);
}

TEST_F(Import, RefusesAnOutputLayerOfItsOwn) {
  const std::string embedding = "model.embed_tokens.weight";
  HuggingFaceModel model = small_cohere2();
  model.tensors["lm_head.weight"] = model.tensors.at(embedding);
  const auto expect_refused = [&] {
    model.write(source());
    expect_error<DataError>([&] { run(); }, {"tensor \"lm_head.weight\" differs from \"model.embed_tokens.weight\""});
    EXPECT_EQ(directory_.names(), (std::vector<std::string>{"model"}));
  };
  model.tensors["lm_head.weight"].bytes.back() ^= 1;
  expect_refused();
  model.tensors["lm_head.weight"] = random_tensor(DType::kF32, {37, 16}, crc32c(embedding));
  expect_refused();
  model.tensors["lm_head.weight"] = model.tensors.at(embedding);
  model.tensors["lm_head.weight"].shape = {16, 37};
  expect_refused();
}

TEST_F(Import, TellsItsProgressAndStopsWhenItThrows) {
  HuggingFaceModel model = small_cohere2();
  model.tensors["lm_head.weight"] = model.tensors.at("model.embed_tokens.weight");
  model.write(source());
  int64_t last = 0, calls = 0, total = 0;
  import_model(source(), checkpoint(), {}, [&](int64_t done, int64_t all) {
    EXPECT_GE(done, last);
    last = done;
    total = all;
    ++calls;
  });
  EXPECT_EQ(last, total);
  for (int64_t stop = 0; stop < calls; ++stop) {
    fs::remove_all(checkpoint());
    int64_t call = 0;
    EXPECT_THROW(import_model(source(), checkpoint(), {},
                              [&](int64_t, int64_t) {
                                if (call++ == stop) throw Interrupted();
                              }),
                 Interrupted);
    EXPECT_EQ(directory_.names(), (std::vector<std::string>{"model"})) << stop;
  }
  EXPECT_EQ(calls, static_cast<int64_t>(model.tensors.size()));  // for each tensor, and while lm_head is compared
}

TEST_F(Import, OfTwoWritersOneWins) {
  small_cohere2().write(source());
  int refused = 0;
  import_model(source(), checkpoint(), {}, [&](int64_t, int64_t) {
    expect_error<DataError>([&] { import_model(source(), checkpoint(), {}, no_progress); },
                            {"another process is writing " + checkpoint().string()});
    ++refused;
  });
  EXPECT_GT(refused, 0);
  expect_tensors(small_cohere2().tensors);
}

TEST_F(Import, NamesOfTheOutput) {
  small_cohere2().write(source());
  for (const char* name : {"a/b/checkpoint", "new/", "other//", "dot/.", "a/b/../c"}) {
    const ImportReport report = import_model(source(), directory_ / name, {}, no_progress);
    EXPECT_TRUE(report.durable);
    EXPECT_TRUE(fs::exists(directory_ / name / kManifestName)) << name;
  }
  EXPECT_EQ(directory_.names(), (std::vector<std::string>{"a", "dot", "model", "new", "other"}));
  EXPECT_EQ(list_directory(directory_ / "a"), (std::vector<std::string>{"b", "c"}));
  import_model(source(), source() / "checkpoint", {}, no_progress);
  const fs::path before = fs::current_path();
  fs::current_path(directory_.path());
  import_model("model", "relative", {}, no_progress);
  fs::current_path(before);
  EXPECT_TRUE(fs::exists(directory_ / "relative" / kManifestName));
}

TEST_F(Import, NeverOverwrites) {
  small_cohere2().write(source());
  const auto expect_refused = [&](const fs::path& output) {
    expect_error<DataError>([&] { import_model(source(), output, {}, no_progress); },
                            {"exists; remove it, or give another name"});
    EXPECT_FALSE(fs::exists(output.string() + ".ropewalk-tmp"));
  };
  expect_refused(source());
  expect_refused(source() / "");
  write_file(directory_ / "file", "kept");
  expect_refused(directory_ / "file");
  EXPECT_EQ(read_file(directory_ / "file"), "kept");
  fs::create_directory(directory_ / "empty");
  expect_refused(directory_ / "empty");
  expect_refused(directory_ / "empty" / ".");
  fs::create_symlink("nowhere", directory_ / "dangling");
  expect_refused(directory_ / "dangling");
  EXPECT_TRUE(fs::is_symlink(directory_ / "dangling"));
  expect_refused("/");
  expect_refused("..");
  expect_error<DataError>([&] { import_model(source(), "", {}, no_progress); }, {"the name of the output is empty"});
  expect_error<DataError>([&] { import_model(source(), directory_ / "file" / "below", {}, no_progress); },
                          {(directory_ / "file").string()});
}

}  // namespace
}  // namespace ropewalk

// Weights that are damaged, hostile or of another model are refused by name, and nothing is left of the output.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/as_nobody.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/conversion/hugging_face_model.h"
#include "trainer/checkpoint/manifest.h"

namespace ropewalk {
namespace {

namespace fs = std::filesystem;

const std::string kQuery = "model.layers.0.self_attn.q_proj.weight", kNorm = "model.norm.weight";
const std::string kFirst = "model-00001-of-00002.safetensors", kSecond = "model-00002-of-00002.safetensors";
const std::string kIndexName = "model.safetensors.index.json";

class RefusedImport : public testing::Test {
 protected:
  fs::path source() const { return directory_ / "model"; }

  template <typename E = DataError>
  void expect_refused(const std::vector<std::string>& parts) {
    expect_error<E>([&] { import_model(source(), directory_ / "checkpoint", {}, no_progress); }, parts);
    for (const std::string& name : directory_.names())
      EXPECT_FALSE(name.starts_with("checkpoint")) << name << " is left";
  }
  void expect_refused(const HuggingFaceModel& model, const std::vector<std::string>& parts) {
    fs::remove_all(source());
    model.write(source());
    expect_refused(parts);
  }
  // Replaces text in the index, once.
  void change_index(const std::string& from, const std::string& to) {
    std::string index = read_file(source() / kIndexName);
    const size_t at = index.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    write_file(source() / kIndexName, index.replace(at, from.size(), to));
  }

  TemporaryDirectory directory_;
  HuggingFaceModel model_ = small_cohere2();
};

TEST_F(RefusedImport, TensorsThatDoNotFitTheModel) {
  HuggingFaceModel wrong = model_;
  wrong.tensors.erase(kQuery);
  expect_refused(wrong, {"the weights do not fit " + (source() / "config.json").string() + " (1 problem):",
                         "tensor \"" + kQuery + "\" is missing"});
  wrong = model_;
  wrong.tensors["model.extra.weight"] = random_tensor(DType::kBF16, {2}, 1);
  expect_refused(wrong, {"tensor \"model.extra.weight\" is not one of this model"});
  wrong = model_;
  wrong.tensors["model.layers.0.self_attn.q_proj.bias"] = random_tensor(DType::kBF16, {24}, 1);
  expect_refused(wrong, {"tensor \"model.layers.0.self_attn.q_proj.bias\" is not one of this model"});
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{16, 24}, {24 * 16}, {24, 16, 1}, {1, 24, 16}}) {
    wrong = model_;
    wrong.tensors[kQuery].shape = shape;
    expect_refused(wrong, {"tensor \"" + kQuery + "\" has the shape [", "]; config.json makes it [24, 16]"});
  }
  wrong = model_;
  wrong.tensors[kNorm].shape = {1, 16};
  expect_refused(wrong, {"tensor \"model.norm.weight\" has the shape [1, 16]; config.json makes it [16]"});
}

TEST_F(RefusedImport, AVocabularyOfAnotherSize) {
  HuggingFaceModel wrong = model_;
  wrong.config["vocab_size"] = "36";
  expect_refused(wrong, {"tensor \"model.embed_tokens.weight\" has the shape [37, 16]; config.json makes it [36, 16]"});
}

TEST_F(RefusedImport, AllProblemsAtOnce) {
  HuggingFaceModel wrong = model_;
  wrong.config["hidden_size"] = "18";
  wrong.config["num_hidden_layers"] = "6";
  wrong.config["layer_types"].back() = ',';
  wrong.config["layer_types"] += "\"full_attention\"]";
  // Each of the 42 tensors has the width in its shape, and the eight of the sixth layer are missing.
  expect_refused(wrong,
                 {"(50 problems):", "tensor \"model.embed_tokens.weight\" has the shape", "\n  ... and 30 more"});
}

TEST_F(RefusedImport, TypesThatAreNotFloating) {
  for (const auto& [dtype, bytes] :
       {std::pair("I64", 8), std::pair("F8_E4M3", 1), std::pair("U8", 1), std::pair("I32", 4)}) {
    HuggingFaceModel wrong = model_;
    wrong.tensors[kQuery] = {dtype, {24, 16}, std::string(static_cast<size_t>(24 * 16 * bytes), 'x')};
    expect_refused(wrong, {"tensor \"" + kQuery + "\" has the type " + dtype + "; F32, F64, BF16 and F16 are read"});
  }
  HuggingFaceModel wrong = model_;
  wrong.tensors[kQuery].dtype = "F17";
  expect_refused(wrong, {"model.safetensors is no valid safetensors file", "has the unknown dtype \"F17\""});
}

TEST_F(RefusedImport, AConfigurationLargerThanTheWeights) {
  HuggingFaceModel wrong = model_;
  for (const char* key : {"hidden_size", "intermediate_size"}) wrong.config[key] = "16777216";
  wrong.config["vocab_size"] = "2147483647";
  expect_refused(wrong, {"config.json describes a model of ", " parameters, but the weights have "});
}

TEST_F(RefusedImport, ATensorThatComesTwice) {
  // In one file.
  const std::string data(1184, 'x');  // the embedding's
  const std::string entry = R"("model.embed_tokens.weight":{"dtype":"BF16","shape":[37,16],"data_offsets":[0,1184]})";
  const std::string header = "{" + entry + "," + entry + "}";
  model_.write_small_files(source());
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  write_file(source() / "model.safetensors", file + header + data);
  expect_refused({"is no valid safetensors file", "comes twice"});
  // In two shards.
  fs::remove_all(source());
  model_.write(source(), 2);
  TensorMap all = model_.tensors;
  write_safetensors(source() / kFirst, all);
  write_safetensors(source() / kSecond, all);
  expect_refused({"tensor \"model.", "is in two files of " + source().string()});
}

TEST_F(RefusedImport, AnIndexThatLies) {
  const std::string embedding = "\"model.embed_tokens.weight\": \"" + kFirst + "\"";
  const auto with_index = [&](const std::string& from, const std::string& to, const std::vector<std::string>& parts) {
    fs::remove_all(source());
    model_.write(source(), 2);
    change_index(from, to);
    expect_refused(parts);
  };
  with_index(embedding, "\"model.embed_tokens.weight\": \"" + kSecond + "\"",
             {kIndexName + " says that " + kSecond + " holds tensor \"model.embed_tokens.weight\", but it does not"});
  with_index(embedding + ",", "", {kFirst + " holds tensor \"model.embed_tokens.weight\", which", "does not list"});
  with_index(embedding, embedding + ", \"ghost\": \"" + kFirst + "\"",
             {"says that " + kFirst + " holds tensor \"ghost\", but it does not"});
  with_index(embedding, embedding + ", \"ghost\": \"model-00003-of-00003.safetensors\"",
             {"model-00003-of-00003.safetensors: No such file or directory"});
  with_index("weight_map", "weightmap", {kIndexName + ": it has no object weight_map"});
  with_index("{", "", {kIndexName + ": no JSON at byte"});
}

TEST_F(RefusedImport, ShardNamesThatLeaveTheDirectory) {
  write_safetensors(directory_ / "x.safetensors", model_.tensors);
  for (const char* name : {"../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", ".x.safetensors",
                           R"(x\u0000y.safetensors)", "..", R"(..\\x.safetensors)"}) {
    fs::remove_all(source());
    model_.write(source(), 2);
    change_index("\"" + kFirst + "\"", fmt::format("\"{}\"", name));
    expect_refused(
        {kIndexName + ": the file of tensor \"", "\" is \"", "a name like model-00001-of-00002.safetensors"});
  }
}

TEST_F(RefusedImport, DamagedFiles) {
  model_.write(source());
  const fs::path file = source() / "model.safetensors";
  const std::string whole = read_file(file);
  for (size_t bytes = 0; bytes < whole.size(); bytes += bytes < 20 || bytes + 20 > whole.size() ? 1 : 997) {
    write_file(file, whole.substr(0, bytes));
    expect_refused({"model.safetensors is no valid safetensors file"});
  }
  write_file(file, whole + "x");
  expect_refused({"1 bytes after the last tensor"});
  write_file(file, std::string(8, '\xff') + whole);
  expect_refused({"a header of 18446744073709551615 bytes; at most"});
  write_file(file, whole);
  for (const char* config :
       {"", "{", "[]", "3", "{\"model_type\": \"cohere2\", \"model_type\": \"cohere\"}", "{\"a\": \"\xff\"}"}) {
    write_file(source() / "config.json", config);
    expect_refused({(source() / "config.json").string()});
  }
  write_file(source() / "config.json", std::string((1 << 20) + 1, ' '));
  expect_refused({"config.json has 1048577 bytes; at most 1048576 are read"});
}

TEST_F(RefusedImport, DirectoriesThatAreNoModel) {
  expect_refused({source().string() + " does not exist; name the directory of a Hugging Face model"});
  write_file(source(), "a file");
  expect_refused({source().string() + " is a file; name the directory of a Hugging Face model"});
  fs::remove(source());
  fs::create_directory(source());
  expect_refused({"has no config.json, so it is no Hugging Face model"});
  model_.write_small_files(source());
  expect_refused({"has neither model.safetensors nor " + kIndexName});
  write_file(source() / "pytorch_model-00001-of-00002.bin", "x");
  expect_refused({"pytorch_model-00001-of-00002.bin is of a format that is not read"});
  write_file(source() / kManifestName, "x");
  expect_refused({"is a checkpoint of ropewalk already, not a Hugging Face model"});
  fs::remove(source() / kManifestName);
  write_safetensors(source() / "model.safetensors", model_.tensors);
  write_file(source() / kIndexName, "{}");
  expect_refused({"has model.safetensors and " + kIndexName + "; remove the one that is not the model's"});
}

TEST_F(RefusedImport, PipesAreNotWaitedFor) {
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json", "additional_chat_templates/a.jinja"}) {
    fs::remove_all(source());
    model_.files = {{"tokenizer.json", "{}"}, {"additional_chat_templates/a.jinja", ""}};
    model_.write(source());
    fs::remove(source() / name);
    ASSERT_EQ(mkfifo((source() / name).c_str(), 0666), 0);
    expect_refused({(source() / name).string() + " is no regular file"});
  }
}

TEST_F(RefusedImport, ADirectoryThatCannotBeListed) {
  model_.write(source());
  fs::permissions(source(), fs::perms::owner_exec | fs::perms::group_exec | fs::perms::others_exec);
  {
    const AsNobody user;
    expect_refused({"cannot list " + source().string() + ": Permission denied"});
  }
  fs::permissions(source(), fs::perms::owner_all);
}

// A run or a start would take it for the checkpoint of that step.
TEST_F(RefusedImport, ANameOfARunsCheckpoint) {
  const TemporaryDirectory place;
  for (const char* name : {"step-00002000", "step-00002000.old"})
    expect_error<ConfigurationError>([&] { import_model(source(), place / name, {}, [](int64_t, int64_t) {}); },
                                     {name, "another name"});
  EXPECT_EQ(place.names(), std::vector<std::string>());
}

TEST_F(RefusedImport, AWrongConfigurationComesBeforeWrongWeights) {
  model_.config["attention_bias"] = "true";
  model_.tensors.clear();
  model_.write(source());
  expect_refused<ConfigurationError>(
      {(source() / "config.json").string() + " has 1 problem:", "attention_bias = true"});
}

}  // namespace
}  // namespace ropewalk

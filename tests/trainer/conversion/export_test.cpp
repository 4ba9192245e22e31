// An export holds the checkpoint's values: bit by bit in the stored type, rounded to nearest in another.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "tests/support/expect_error.h"
#include "tests/support/flipped_bits.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/conversion/hugging_face_model.h"
#include "trainer/conversion/export_model.h"
#include "trainer/files/input_file.h"
#include "trainer/formats/elements.h"
#include "trainer/formats/json_tree.h"
#include "trainer/formats/safetensors.h"

namespace ropewalk {
namespace {

namespace fs = std::filesystem;

const std::string kIndexName = "model.safetensors.index.json";
constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kF64};

class Export : public testing::Test {
 protected:
  fs::path checkpoint() const { return directory_ / "checkpoint"; }
  fs::path output() const { return directory_ / "output"; }

  void import(const HuggingFaceModel& model) {
    fs::remove_all(directory_ / "model");
    fs::remove_all(checkpoint());
    model.write(directory_ / "model");
    import_model(directory_ / "model", checkpoint(), {}, no_progress);
  }
  ExportReport run(const ExportOptions& options = {}) {
    fs::remove_all(output());
    return export_model(checkpoint(), output(), options, no_progress);
  }
  JsonNode json(const std::string& name) { return parse_json(read_file(output() / name)); }
  std::string value(const std::string& key) {
    const JsonNode config = json("config.json");
    return config.find(key) ? json_text(*config.find(key)) : "absent";
  }

  TemporaryDirectory directory_;
};

TensorBytes converted(const TensorBytes& tensor, DType from, DType to) {
  const auto count = static_cast<int64_t>(tensor.bytes.size()) / size_of(from);
  TensorBytes out{safetensors_name(to), tensor.shape, std::string(static_cast<size_t>(count * size_of(to)), '\0')};
  convert_elements(reinterpret_cast<const uint8_t*>(tensor.bytes.data()), from,
                   reinterpret_cast<uint8_t*>(out.bytes.data()), to, count);
  return out;
}

TEST_F(Export, AfterAnImportIsTheSameModel) {
  for (const DType dtype : kTypes) {
    for (const HuggingFaceModel& model : {small_cohere2(dtype), small_cohere(dtype)}) {
      import(model);
      const ExportReport report = run();
      EXPECT_EQ(tensors_in(output()), model.tensors);
      EXPECT_EQ(report.types, std::vector<std::string>{safetensors_name(dtype)});
      EXPECT_EQ(report.files, (std::vector<std::string>{"config.json", "model.safetensors", "generation_config.json"}));
      EXPECT_EQ(list_directory(output()),
                (std::vector<std::string>{"config.json", "generation_config.json", "model.safetensors"}));
      // And again.
      import_model(output(), directory_ / "again", {}, no_progress);
      EXPECT_EQ(tensors_in(directory_ / "again"), model.tensors);
      fs::remove_all(directory_ / "again");
    }
  }
}

TEST_F(Export, ConvertsToAnotherType) {
  for (const DType from : kTypes) {
    const HuggingFaceModel model = small_cohere2(from);
    import(model);
    for (const DType to : {DType::kF32, DType::kBF16, DType::kF16}) {
      run({.dtype = to});
      const TensorMap tensors = tensors_in(output());
      ASSERT_EQ(tensors.size(), model.tensors.size());
      for (const auto& [name, tensor] : model.tensors)
        EXPECT_EQ(tensors.at(name), converted(tensor, from, to)) << name << " to " << name_of(to);
      EXPECT_EQ(value("dtype"), to == DType::kF32 ? "\"float32\"" : to == DType::kF16 ? "\"float16\"" : "\"bfloat16\"");
    }
  }
}

// transformers loads all tensors in the type that config.json names.
TEST_F(Export, OfMixedTypesNamesThatOfTheMatrices) {
  HuggingFaceModel model = small_cohere2();
  for (auto& [name, tensor] : model.tensors)
    if (tensor.shape.size() == 1) tensor = random_tensor(DType::kF32, tensor.shape, 1);
  import(model);
  for (const int64_t most_bytes : {int64_t{3000}, kUsualShardBytes}) {
    EXPECT_EQ(run({.most_shard_bytes = most_bytes}).types, (std::vector<std::string>{"F32", "BF16"}));
    EXPECT_EQ(tensors_in(output()), model.tensors);
    EXPECT_EQ(value("torch_dtype"), "\"bfloat16\"");
  }
}

TEST_F(Export, RefusesValuesThatOverflow) {
  HuggingFaceModel model = small_cohere2(DType::kF32);
  const std::string name = "model.layers.2.mlp.down_proj.weight";
  const float values[] = {65520, -1e30f, 65519};  // the last one still rounds to a finite fp16
  std::memcpy(model.tensors[name].bytes.data() + 40, values, sizeof values);
  import(model);
  expect_error<DataError>([&] { run({.dtype = DType::kF16}); },
                          {"2 values of tensor \"" + name + "\" would be infinite in f16; choose a type"});
  EXPECT_EQ(directory_.names(), (std::vector<std::string>{"checkpoint", "model"}));
  run({.dtype = DType::kBF16});
}

TEST_F(Export, KeepsInfinitiesAndNaNs) {
  HuggingFaceModel model = small_cohere2(DType::kF32);
  const float values[] = {INFINITY, -INFINITY, NAN};
  std::memcpy(model.tensors["model.norm.weight"].bytes.data(), values, sizeof values);
  import(model);
  run({.dtype = DType::kF16});
  EXPECT_EQ(tensors_in(output()).at("model.norm.weight"),
            converted(model.tensors["model.norm.weight"], DType::kF32, DType::kF16));
}

TEST_F(Export, FillsShardsUpToTheLimit) {
  const HuggingFaceModel model = small_cohere2();
  import(model);
  int64_t total = 0, largest = 0;
  for (const auto& [_, tensor] : model.tensors) {
    total += static_cast<int64_t>(tensor.bytes.size());
    largest = std::max(largest, static_cast<int64_t>(tensor.bytes.size()));
  }
  for (const int64_t most_bytes : {int64_t{1}, int64_t{800}, largest, int64_t{3000}, total - 1, total}) {
    const ExportReport report = run({.most_shard_bytes = most_bytes});
    EXPECT_EQ(tensors_in(output()), model.tensors);
    if (most_bytes == total) {
      EXPECT_EQ(report.files[1], "model.safetensors");
      EXPECT_FALSE(fs::exists(output() / kIndexName));
      continue;
    }
    const JsonNode index = json(kIndexName);
    EXPECT_EQ(index.find("metadata")->find("total_size")->whole, total);
    EXPECT_EQ(index.find("metadata")->find("total_parameters")->whole, total / 2);
    std::map<std::string, int64_t> bytes, count;
    for (const auto& [name, file] : index.find("weight_map")->members) {
      bytes[file.text] += static_cast<int64_t>(model.tensors.at(name).bytes.size());
      ++count[file.text];
    }
    EXPECT_EQ(index.find("weight_map")->members.size(), model.tensors.size());
    int64_t number = 0, last = 0;
    for (const auto& [file, filled] : bytes) {
      EXPECT_EQ(file, fmt::format("model-{:05}-of-{:05}.safetensors", ++number, bytes.size()));
      EXPECT_TRUE(filled <= most_bytes || count[file] == 1) << file;
      if (number > 1) {
        EXPECT_GT(last + filled, most_bytes) << "two files would have been one";
      }
      last = filled;
    }
    EXPECT_EQ(report.files.size(), 3 + bytes.size());
    import_model(output(), directory_ / "again", {}, no_progress);  // which checks the index
    EXPECT_EQ(tensors_in(directory_ / "again"), model.tensors);
    fs::remove_all(directory_ / "again");
  }
}

TEST_F(Export, WritesTheSourcesFilesAsTheyWere) {
  HuggingFaceModel model = small_cohere2();
  model.config["_name_or_path"] = "\"kept\"";
  model.files = {{"generation_config.json", "{ \"eos_token_id\":36 }"},
                 {"tokenizer.json", std::string(50'000, '\xff')},
                 {"tokenizer_config.json", "{}"},
                 {"LICENSE", ""},
                 {"additional_chat_templates/rag.jinja", "r"},
                 {"additional_chat_templates/tool_use.jinja", "t"}};
  import(model);
  const ExportReport report = run();
  EXPECT_TRUE(report.has_tokenizer);
  for (const auto& [name, bytes] : model.files) {
    EXPECT_EQ(read_file(output() / name), bytes) << name;
    EXPECT_EQ(std::ranges::count(report.files, name), 1) << name;
  }
  EXPECT_EQ(value("_name_or_path"), "\"kept\"");
  EXPECT_EQ(value("eos_token_id"), "36");
  EXPECT_EQ(value("max_position_embeddings"), "8192");
}

TEST_F(Export, GenerationKnowsTheEndWithoutASourcesFile) {
  import(small_cohere2());
  EXPECT_FALSE(run().has_tokenizer);
  EXPECT_EQ(json_text(json("generation_config.json")),
            R"({"_from_model_config":true,"bos_token_id":5,"eos_token_id":36,"pad_token_id":0})");
}

TEST_F(Export, StopsWheneverItsProgressThrows) {
  import(small_cohere2());
  int stopped = 0;
  for (;; ++stopped) {
    int call = 0;
    try {
      export_model(checkpoint(), output(), {.most_shard_bytes = 3000}, [&](int64_t done, int64_t total) {
        EXPECT_LE(done, total);
        if (call++ == stopped) throw Interrupted();
      });
      break;
    } catch (const Interrupted&) {
      EXPECT_EQ(directory_.names(), (std::vector<std::string>{"checkpoint", "model"})) << stopped;
    }
  }
  EXPECT_GT(stopped, 42);  // a call for each tensor, and more for the shards
}

TEST_F(Export, NeverOverwrites) {
  import(small_cohere2());
  write_file(output(), "kept");
  const auto expect_refused = [&](const fs::path& path) {
    expect_error<DataError>([&] { export_model(checkpoint(), path, {}, no_progress); },
                            {"exists; remove it, or give another name"});
  };
  expect_refused(output());
  EXPECT_EQ(read_file(output()), "kept");
  expect_refused(checkpoint());
  expect_refused(directory_ / "model" / "");
}

// Flips one byte of every read from a file whose name ends so, from its second opening on.
class FlippingFileSystem : public FileSystem {
 public:
  FlippingFileSystem(std::string ending, int64_t at)
      : FileSystem(FileOwner::kData), ending_(std::move(ending)), at_(at) {}
  int open(const char* path, int flags, mode_t mode) override {
    const int file = FileSystem::open(path, flags, mode);
    if (std::string_view(path).ends_with(ending_) && !(flags & O_CREAT)) damaged_ = file;
    return file;
  }
  int close(int file) override {
    if (file == damaged_) damaged_ = -1;
    return FileSystem::close(file);
  }
  ssize_t pread(int file, void* data, size_t bytes, int64_t offset) override {
    const ssize_t got = FileSystem::pread(file, data, bytes, offset);
    if (file == damaged_ && offset <= at_ && at_ < offset + got) {
      static_cast<char*>(data)[at_ - offset] ^= 4;
      flipped_ = true;
    }
    return got;
  }
  bool flipped() const { return flipped_; }

 private:
  std::string ending_;
  int64_t at_;
  // The export reads back on another thread.
  std::atomic<int> damaged_ = -1;
  std::atomic<bool> flipped_ = false;
};

TEST_F(Export, NoticesAByteThatIsNotWhatItWrote) {
  import(small_cohere2());
  run({.most_shard_bytes = 20'000});
  const std::string name = "model-00002-of-00002.safetensors";
  const auto size = static_cast<int64_t>(fs::file_size(output() / name));
  fs::remove_all(output());
  int64_t in_header = 0, in_data = 0;
  for (int64_t at = 0; at < size; at += at < 400 ? 1 : 199) {
    FlippingFileSystem flipping(name, at);
    try {
      export_model(checkpoint(), output(), {.most_shard_bytes = 20'000}, no_progress, real_file_system(), flipping);
      ADD_FAILURE() << "byte " << at << " is not noticed";
    } catch (const DataError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find(name), std::string::npos) << message;
      EXPECT_NE(message.find("is not what was written; check the device"), std::string::npos) << message;
      (message.find("the header") != std::string::npos ? in_header : in_data) += 1;
    }
    EXPECT_TRUE(flipping.flipped());
    EXPECT_EQ(directory_.names(), (std::vector<std::string>{"checkpoint", "model"}));
  }
  EXPECT_GE(in_header, 400);
  EXPECT_GT(in_data, 20);
}

TEST_F(Export, RefusesADamagedCheckpoint) {
  import(small_cohere2());
  const auto refusal = [&]() -> std::string {
    try {
      run();
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kCheckpoint) << error.what();
      EXPECT_EQ(directory_.names(), (std::vector<std::string>{"checkpoint", "model"}));
      return error.what();
    }
  };
  EXPECT_GT(flip_bits(checkpoint(), 97, refusal), 400);
}

TEST_F(Export, NamesWhatIsNoCheckpoint) {
  import(small_cohere2());
  expect_error<CheckpointError>([&] { export_model(directory_ / "model", output(), {}, no_progress); },
                                {"is a Hugging Face model, not a checkpoint"});
  expect_error<CheckpointError>([&] { export_model(directory_ / "none", output(), {}, no_progress); },
                                {"there is no checkpoint"});
}

}  // namespace
}  // namespace ropewalk

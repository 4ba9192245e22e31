// Directories of Hugging Face models for tests, written without the program's own writers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernels/dtype.h"
#include "trainer/config/config.h"
#include "trainer/conversion/config_keys.h"
#include "trainer/conversion/import_model.h"

namespace ropewalk {

using Keys = std::map<std::string, std::string>;  // key of config.json -> its value as JSON

// Small models in the form in which transformers 4.48 and 5 write them: five layers, the fourth with full attention.
Keys old_keys();
Keys new_keys();
Keys cohere_keys();  // of Cohere: two layers with QK-Norm
Keys with(Keys keys, const Keys& changes);
Keys without(Keys keys, const std::vector<std::string>& removed);
std::string json_of(const Keys& keys);

ModelConfig cohere2_model();  // what old_keys() and new_keys() describe
ModelConfig cohere_model();   // what cohere_keys() describes

// Reads a config.json as an import does. Throws as ConfigKeys::finish().
struct ReadConfig {
  ModelConfig model;
  std::vector<KeyReport> reports;
  // "used 16", "assumed 16", "ignored WHY"; "" if the key is not told.
  std::string fate_of(const std::string& key) const;
};
ReadConfig read_config(const std::string& json, const std::set<std::string>& ignored = {});
// The message with which it is refused; "" if it is not.
std::string refusal_of(const std::string& json, const std::set<std::string>& ignored = {});

struct TensorBytes {
  std::string dtype;  // "BF16"
  std::vector<int64_t> shape;
  std::string bytes;
  bool operator==(const TensorBytes&) const = default;
};
using TensorMap = std::map<std::string, TensorBytes>;

TensorBytes random_tensor(DType dtype, std::vector<int64_t> shape, uint64_t seed);  // normal(0, 1)

struct HuggingFaceModel {
  Keys config;
  TensorMap tensors;
  std::map<std::string, std::string> files = {};  // other files, by name; a name may have a folder

  // Writes model.safetensors, or `shards` files with an index, which get the tensors in turn.
  void write(const std::filesystem::path& directory, size_t shards = 1) const;
  // config.json and the other files.
  void write_small_files(const std::filesystem::path& directory) const;
};
// With random weights.
HuggingFaceModel small_cohere2(DType dtype = DType::kBF16);
HuggingFaceModel small_cohere(DType dtype = DType::kBF16);

void write_safetensors(const std::filesystem::path& file, const TensorMap& tensors);
// All tensors in the safetensors files of a directory, of Hugging Face's form or a checkpoint.
TensorMap tensors_in(const std::filesystem::path& directory);

inline void no_progress(int64_t, int64_t) {}

}  // namespace ropewalk

// The directory of a Hugging Face model: config.json, its weights as safetensors (one file, or shards with an index),
// and small files such as tokenizer.json.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "trainer/checkpoint/state.h"
#include "trainer/files/input_file.h"
#include "trainer/formats/json_tree.h"
#include "trainer/formats/safetensors.h"

namespace ropewalk {

struct SourceTensor {
  std::string dtype;  // "BF16"
  std::vector<int64_t> shape;
  size_t file;            // index into ModelDirectory::files()
  int64_t offset, bytes;  // of its data in the file
};

class ModelDirectory {
 public:
  // Opens all files of weights and reads their headers. Links are followed, because Hugging Face's cache consists of
  // links. Throws DataError naming the file and what is wrong: no model, weights in another format, a damaged header, a
  // shard that is missing or has other tensors than the index says, a tensor that is in two shards.
  explicit ModelDirectory(std::filesystem::path path, FileSystem& system = real_file_system(FileOwner::kData));

  const JsonNode& config() const { return config_; }  // an object
  std::filesystem::path config_path() const { return path_ / "config.json"; }
  const std::map<std::string, SourceTensor>& tensors() const { return tensors_; }
  const std::vector<InputFile>& files() const { return files_; }
  int64_t data_bytes() const;  // of all tensors

  // The small files that a checkpoint carries along: config.json, those of the tokenizer and of generation, licences.
  const std::vector<SourceFile>& source_files() const { return source_files_; }
  const std::vector<std::string>& left_behind() const { return left_behind_; }  // names of all other entries

 private:
  void open_weights();
  void open_shard(const std::string& name);
  void read_small_files();
  void read_templates();

  FileSystem& system_;
  std::filesystem::path path_;
  JsonNode config_;
  std::vector<InputFile> files_;
  std::map<std::string, SourceTensor> tensors_;
  std::vector<SourceFile> source_files_;
  std::vector<std::string> left_behind_;
};

}  // namespace ropewalk

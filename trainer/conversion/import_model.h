// Makes a checkpoint from a Hugging Face model. The values stay as they are, each tensor in its own type.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/conversion/config_keys.h"
#include "trainer/files/file_system.h"

namespace ropewalk {

using BytesDone = std::function<void(int64_t done, int64_t total)>;  // may throw, to stop

struct ImportReport {
  std::string architecture;  // "Cohere2ForCausalLM"
  ModelConfig model;
  std::vector<KeyReport> keys = {};  // what became of each key of config.json
  std::vector<std::string>
      redundant;  // tensors that were not needed: copies of others, or values that follow from config.json
  std::vector<std::string> carried = {};      // small files that the checkpoint carries along
  std::vector<std::string> left_behind = {};  // other entries of the directory
  std::vector<std::string> types = {};        // of the tensors: {"BF16"}
  int64_t parameters = 0, bytes = 0;
  bool durable = true;  // the names of files survive a power cut
};

// Reads the model in `directory` and writes `checkpoint`, which must not exist. Peak memory is some 20 MiB with the
// small files. If anything fails, nothing is left at `checkpoint`.
// ignored_keys: keys of config.json to ignore, although they are not known or have another value than is supported.
// Throws ConfigurationError for a config.json that describes another kind of model, with all problems, and for a
// checkpoint that is named like those of runs (step-N); DataError for
// everything else that is wrong with the files.
ImportReport import_model(const std::filesystem::path& directory, const std::filesystem::path& checkpoint,
                          const std::set<std::string>& ignored_keys, const BytesDone& progress,
                          FileSystem& system = real_file_system(FileOwner::kData));

}  // namespace ropewalk

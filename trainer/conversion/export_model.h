// Makes a Hugging Face model from a checkpoint.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kernels/dtype.h"
#include "trainer/conversion/import_model.h"
#include "trainer/files/file_system.h"

namespace ropewalk {

constexpr int64_t kUsualShardBytes = 5'000'000'000;  // as transformers 4

struct ExportOptions {
  std::optional<DType> dtype = {};              // of all tensors; nullopt: as they are stored
  int64_t most_shard_bytes = kUsualShardBytes;  // of tensor data in a file; a larger tensor has a file of its own
};

struct ExportReport {
  std::string architecture;
  int64_t step = 0;                 // of the run that wrote the checkpoint; 0: imported
  std::vector<std::string> files;   // written, in the directory
  std::vector<std::string> limits;  // which other programs cannot load the model, and why
  bool has_tokenizer = false;
  std::vector<std::string> types;
  int64_t parameters = 0, bytes = 0;
  bool durable = true;
};

// Reads the weights of `checkpoint`, from any mesh, and writes the model to `directory`, which must not exist. Then
// reads the weights back and compares checksums. progress counts what is written and what is read back.
// If anything fails, nothing is left at `directory`.
// Throws CheckpointError or FileError for the checkpoint; ConfigurationError if no family of models expresses it;
// DataError if a value does not fit the type, or the directory cannot be written.
ExportReport export_model(const std::filesystem::path& checkpoint, const std::filesystem::path& directory,
                          const ExportOptions& options, const BytesDone& progress,
                          FileSystem& source = real_file_system(),
                          FileSystem& target = real_file_system(FileOwner::kData));

}  // namespace ropewalk

#include "trainer/conversion/model_directory.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "trainer/checkpoint/manifest.h"
#include "trainer/conversion/weight_index.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr int64_t kLargestConfig = 1 << 20, kLargestIndex = 64 << 20;
constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kTemplates = "additional_chat_templates";

bool is_small_file(const std::string& name) {
  static constexpr std::string_view kNames[] = {"config.json",
                                                "generation_config.json",
                                                "tokenizer.json",
                                                "tokenizer_config.json",
                                                "special_tokens_map.json",
                                                "added_tokens.json",
                                                "vocab.json",
                                                "merges.txt",
                                                "tokenizer.model",
                                                "chat_template.jinja",
                                                "chat_template.json"};
  static constexpr std::string_view kLicences[] = {"LICENSE", "LICENCE", "NOTICE", "USE_POLICY"};
  return std::ranges::find(kNames, name) != std::end(kNames) ||
         std::ranges::any_of(kLicences, [&](std::string_view licence) { return name.starts_with(licence); });
}

bool is_there(const std::filesystem::path& path) {
  std::error_code unreadable;
  return std::filesystem::exists(path, unreadable);
}

bool is_folder(const std::filesystem::path& path) {
  std::error_code unreadable;
  return std::filesystem::is_directory(path, unreadable);
}

// A pipe would be waited for.
void require_regular(const std::filesystem::path& path) {
  std::error_code unreadable;  // opening the file reports it
  if (is_there(path) && !std::filesystem::is_regular_file(path, unreadable))
    throw DataError(fmt::format("{} is no regular file", printable_name(path.string())));
}

std::string read_small(FileSystem& system, const std::filesystem::path& path, int64_t limit) {
  require_regular(path);
  return read_text(system, path, limit);
}

// Calls parse(text) on the file's text; names the file in errors of the contents.
template <typename Parse>
auto parse_file(FileSystem& system, const std::filesystem::path& path, int64_t limit, Parse&& parse) {
  const std::string text = read_small(system, path, limit);
  try {
    return parse(text);
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: {}", printable_name(path.string()), error.what()));
  }
}

std::string other_weights_in(const std::filesystem::path& path) {
  for (const std::string& name : list_directory(path, FileOwner::kData))
    for (const char* extension : {".bin", ".pt", ".pth", ".gguf", ".msgpack", ".h5", ".npz"})
      if (name.ends_with(extension)) return name;
  return "";
}

void require_directory(const std::filesystem::path& path) {
  const std::string name = printable_name(path.string());
  if (!is_there(path))
    throw DataError(fmt::format("{} does not exist; name the directory of a Hugging Face model", name));
  if (!is_folder(path)) throw DataError(fmt::format("{} is a file; name the directory of a Hugging Face model", name));
  if (is_there(path / "manifest.textproto"))
    throw DataError(fmt::format("{} is a checkpoint of ropewalk already, not a Hugging Face model", name));
  if (!is_there(path / "config.json"))
    throw DataError(fmt::format("{} has no config.json, so it is no Hugging Face model", name));
}

}  // namespace

ModelDirectory::ModelDirectory(std::filesystem::path path, FileSystem& system)
    : system_(system), path_(std::move(path)) {
  require_directory(path_);
  config_ = parse_file(system_, config_path(), kLargestConfig, parse_json);
  if (config_.kind != JsonNode::Kind::kObject)
    throw DataError(fmt::format("{} is not a JSON object", printable_name(config_path().string())));
  open_weights();
  read_small_files();
}

void ModelDirectory::open_weights() {
  const std::string name = printable_name(path_.string());
  const bool single = is_there(path_ / kSingle), sharded = is_there(path_ / kIndex);
  if (single && sharded)
    throw DataError(fmt::format("{} has {} and {}; remove the one that is not the model's", name, kSingle, kIndex));
  if (single) return open_shard(kSingle);
  if (!sharded) {
    const std::string other = other_weights_in(path_);
    throw DataError(fmt::format("{} has neither {} nor {}{}", name, kSingle, kIndex,
                                other.empty() ? ""
                                              : fmt::format("; {} is of a format that is not read: load and save the "
                                                            "model with transformers, which writes safetensors",
                                                            printable_name(other))));
  }
  const WeightMap index = parse_file(system_, path_ / kIndex, kLargestIndex, parse_weight_index);
  std::set<std::string> names;
  for (const auto& [_, file] : index) names.insert(file);
  for (const std::string& file : names) open_shard(file);
  for (const auto& [tensor, file] : index) {
    const auto found = tensors_.find(tensor);
    if (found == tensors_.end() || files_[found->second.file].path().filename() != file)
      throw DataError(fmt::format("{}: {} says that {} holds tensor {}, but it does not", name, kIndex,
                                  printable_name(file), in_quotes(tensor)));
  }
  for (const auto& [tensor, source] : tensors_)
    if (!index.contains(tensor))
      throw DataError(fmt::format("{} holds tensor {}, which {} does not list",
                                  printable_name(files_[source.file].path().string()), in_quotes(tensor), kIndex));
}

void ModelDirectory::open_shard(const std::string& name) {
  require_regular(path_ / name);
  InputFile file(system_, path_ / name);
  SafetensorsHeader header;
  try {
    header = read_safetensors_header(file);
  } catch (const CheckpointError& error) {
    throw DataError(error.what());
  }
  for (SafetensorsEntry& entry : header.entries) {
    const SourceTensor tensor{entry.dtype, std::move(entry.shape), files_.size(), header.data_begin + entry.begin,
                              entry.end - entry.begin};
    if (!tensors_.try_emplace(entry.name, tensor).second)
      throw DataError(
          fmt::format("tensor {} is in two files of {}", in_quotes(entry.name), printable_name(path_.string())));
  }
  files_.push_back(std::move(file));
}

int64_t ModelDirectory::data_bytes() const {
  int64_t bytes = 0;
  for (const auto& [_, tensor] : tensors_) bytes += tensor.bytes;
  return bytes;
}

void ModelDirectory::read_small_files() {
  std::set<std::string> weights = {kIndex};
  for (const InputFile& file : files_) weights.insert(file.path().filename().string());
  for (const std::string& name : list_directory(path_, FileOwner::kData)) {
    if (weights.contains(name) || name[0] == '.') continue;
    if (name == kTemplates && is_folder(path_ / name))
      read_templates();
    else if (is_small_file(name) && !is_folder(path_ / name))
      source_files_.push_back({name, read_small(system_, path_ / name, kLargestSourceFile)});
    else
      left_behind_.push_back(name);
  }
}

void ModelDirectory::read_templates() {
  for (const std::string& name : list_directory(path_ / kTemplates, FileOwner::kData)) {
    const std::filesystem::path file = path_ / kTemplates / name;
    if (name.ends_with(".jinja") && name[0] != '.' && !is_folder(file))
      source_files_.push_back({fmt::format("{}/{}", kTemplates, name), read_small(system_, file, kLargestSourceFile)});
    else
      left_behind_.push_back(fmt::format("{}/{}", kTemplates, name));
  }
}

}  // namespace ropewalk

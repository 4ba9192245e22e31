#include "trainer/conversion/export_model.h"

#include <algorithm>
#include <unordered_map>

#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/source_files.h"
#include "trainer/checkpoint/tensor_stream.h"
#include "trainer/config/load_config.h"
#include "trainer/config/model_text.h"
#include "trainer/conversion/family.h"
#include "trainer/conversion/shards.h"
#include "trainer/conversion/weight_index.h"
#include "trainer/files/new_directory.h"
#include "trainer/files/output_file.h"
#include "trainer/formats/safetensors.h"
#include "trainer/model/parameters.h"
#include "trainer/text/format.h"
#include "trainer/tokenizer/make_tokenizer.h"

namespace ropewalk {
namespace {

constexpr const char* kIndex = "model.safetensors.index.json";

// The model's parameters in the checkpoint, in the order of the table. Throws CheckpointError unless the checkpoint has
// them all, in their shapes, and no others.
std::vector<ExportedTensor> tensors_of(const Manifest& manifest, const ModelConfig& model, const ModelFamily& family,
                                       std::optional<DType> dtype) {
  std::unordered_map<std::string, const ManifestTensor*> saved;
  for (const ManifestTensor& tensor : manifest.tensors) saved[tensor.name] = &tensor;
  std::vector<ExportedTensor> tensors;
  const ParameterTable table(model, {1, 1, 1}, 0, false, 0);
  for (const Parameter& parameter : table.all()) {
    const auto found = saved.find(parameter.name);
    if (found == saved.end() || found->second->shape != parameter.shape)
      throw CheckpointError(fmt::format("the manifest has no tensor {} of shape {}, which its configuration describes",
                                        in_quotes(parameter.name), parameter.shape.text()));
    tensors.push_back({found->second, family.their_name(parameter.name), dtype.value_or(found->second->dtype)});
    saved.erase(found);
  }
  for (const auto& [name, _] : saved)
    if (name.starts_with("model."))
      throw CheckpointError(
          fmt::format("the manifest has a tensor {} that its configuration does not describe", in_quotes(name)));
  return tensors;
}

// The source's config.json, or an empty object.
JsonNode source_config(const std::vector<SourceFile>& files) {
  for (const SourceFile& file : files)
    if (file.name == "config.json") return parse_json(file.bytes);
  return JsonNode::object();
}

// The family from which the model was imported, if it still expresses the model; else the first that does.
const ModelFamily& family_of(const ModelConfig& model, const JsonNode& config) {
  const JsonNode* type = config.find("model_type");
  for (const ModelFamily* family : model_families())
    if (type && type->text == family->model_type && family->obstacle(model).empty()) return *family;
  return family_for(model);
}

// Generation needs the end of a document; transformers writes the file for every model.
std::string generation_config(const JsonNode& config) {
  JsonNode out = JsonNode::object({{"_from_model_config", JsonNode(true)}});
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"})
    if (const JsonNode* id = config.find(key)) out.set(key, *id);
  return indented_json_text(out);
}

// With the theta of the stage that the run had reached.
ModelConfig model_of(const Manifest& manifest, const std::filesystem::path& checkpoint) {
  const std::string name = fmt::format("the configuration in {}", checkpoint.string());
  return parse_inference_config(model_group_of(manifest.run.config_text, manifest.progress.step, name), name, {}, {})
      .model;
}

class Exporter {
 public:
  Exporter(const std::filesystem::path& checkpoint, const ExportOptions& options, FileSystem& source,
           FileSystem& target)
      : target_(target),
        manifest_(read_manifest(source, checkpoint)),
        stream_(source, checkpoint, manifest_),
        source_files_(read_source_files(source, checkpoint, manifest_.source_files)),
        config_(source_config(source_files_)),
        model_(model_of(manifest_, checkpoint)),
        family_(family_of(model_, config_)),
        shards_(shards_of(tensors_of(manifest_, model_, family_, options.dtype), options.most_shard_bytes)) {}

  ExportReport write(const std::filesystem::path& directory, const BytesDone& tell) {
    NewDirectory output(target_, directory);
    describe();
    output.require_room(report_.bytes);
    ShardProgress progress(tell, 2 * report_.bytes);
    ShardChecker checker(target_, progress);
    ShardWriter writer(stream_, progress, checker);
    for (Shard& shard : shards_) writer.write(target_, output.temporary(), shard);
    checker.wait();
    write_small_files(output.temporary());
    report_.durable = output.take_name();
    return std::move(report_);
  }

 private:
  void describe() {
    report_.architecture = family_.architecture;
    report_.step = manifest_.progress.step;
    report_.limits = family_.limits(model_);
    for (const Shard& shard : shards_)
      for (const ExportedTensor& tensor : shard.tensors) {
        report_.parameters += tensor.source->shape.elements();
        report_.bytes += tensor.bytes();
        const std::string type = safetensors_name(tensor.dtype);
        if (std::ranges::find(report_.types, type) == report_.types.end()) report_.types.push_back(type);
      }
  }

  ExportFacts facts() const {
    const std::string& text = manifest_.run.config_text;
    ExportFacts facts{.dtype = type_of_matrices(),
                      .longest_sequence = longest_sequence_in(text, manifest_.progress.step)};
    if (manifest_.run.tokenizer)
      facts.end_of_document = manifest_.run.tokenizer->end_of_document;
    else if (tokenizer_in(text) == "bytes")  // of a checkpoint that is older than that field
      facts.end_of_document = make_byte_tokenizer()->end_of_document();
    return facts;
  }

  // Norms may have a wider type, and then come first.
  DType type_of_matrices() const {
    const std::vector<ExportedTensor>& tensors = shards_.front().tensors;  // the embedding is one of them
    return std::ranges::find_if(tensors, [](const ExportedTensor& t) { return t.source->shape.rank() == 2; })->dtype;
  }

  void write_small_files(const std::filesystem::path& directory) {
    family_.write(model_, facts(), config_);
    create_file(target_, directory / "config.json", indented_json_text(config_));
    std::vector<SourceFile> others = source_files_;
    std::erase_if(others, [](const SourceFile& file) { return file.name == "config.json"; });
    const auto has = [&](std::string_view name) {
      return std::ranges::any_of(others, [&](const SourceFile& file) { return file.name == name; });
    };
    if (!has("generation_config.json")) others.push_back({"generation_config.json", generation_config(config_)});
    report_.has_tokenizer = has("tokenizer.json") || has("tokenizer.model");
    write_files(target_, directory, others);
    if (shards_.size() > 1) write_index(directory);
    report_.files = {"config.json"};
    for (const Shard& shard : shards_) report_.files.push_back(shard.name);
    if (shards_.size() > 1) report_.files.push_back(kIndex);
    for (const SourceFile& file : others) report_.files.push_back(file.name);
  }

  void write_index(const std::filesystem::path& directory) {
    WeightMap files;
    for (const Shard& shard : shards_)
      for (const ExportedTensor& tensor : shard.tensors) files[tensor.name] = shard.name;
    create_file(target_, directory / kIndex, weight_index_text(files, report_.bytes, report_.parameters));
  }

  FileSystem& target_;
  const Manifest manifest_;
  TensorStream stream_;
  std::vector<SourceFile> source_files_;
  JsonNode config_;
  const ModelConfig model_;
  const ModelFamily& family_;
  std::vector<Shard> shards_;
  ExportReport report_;
};

}  // namespace

ExportReport export_model(const std::filesystem::path& checkpoint, const std::filesystem::path& directory,
                          const ExportOptions& options, const BytesDone& progress, FileSystem& source,
                          FileSystem& target) {
  return Exporter(checkpoint, options, source, target).write(directory, progress);
}

}  // namespace ropewalk

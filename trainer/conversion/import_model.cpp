#include "trainer/conversion/import_model.h"

#include <algorithm>
#include <map>

#include "trainer/checkpoint/box_cover.h"
#include "trainer/checkpoint/checkpoint_directory.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/source_files.h"
#include "trainer/config/field_rules.h"
#include "trainer/config/model_text.h"
#include "trainer/conversion/family.h"
#include "trainer/conversion/model_directory.h"
#include "trainer/files/crc32c.h"
#include "trainer/files/new_directory.h"
#include "trainer/files/output_file.h"
#include "trainer/formats/safetensors.h"
#include "trainer/model/parameters.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr int64_t kPartBytes = 1 << 20;
constexpr const char* kWeights = "model.safetensors";
constexpr size_t kMostShown = 20;

// A tensor of ours, and where its values are.
struct Planned {
  Parameter parameter;
  const SourceTensor* source;
  DType dtype;
};

struct Plan {
  std::vector<Planned> tensors;  // in the order in which they are written: wider types first
  int64_t bytes = 0;             // of their data
  std::map<std::string, std::string>
      redundant;  // their tensors that are not needed -> the tensor that each copies, or ""
};

std::string text_of(std::span<const int64_t> shape) {
  std::string text = "[";
  for (const int64_t extent : shape) text += fmt::format("{}{}", text.size() > 1 ? ", " : "", extent);
  return text + "]";
}

class Planner {
 public:
  Planner(const ModelDirectory& directory, const ModelFamily& family, const ModelConfig& model)
      : directory_(directory), family_(family), model_(model), unused_(directory.tensors()) {}

  Plan plan() {
    const ParameterTable table(model_, {1, 1, 1}, 0, false, 0);
    for (const Parameter& parameter : table.all()) add(parameter);
    for (const auto& [name, _] : unused_) add_unused(name);
    if (count_ > 0) refuse();
    std::stable_sort(plan_.tensors.begin(), plan_.tensors.end(),
                     [](const Planned& a, const Planned& b) { return size_of(a.dtype) > size_of(b.dtype); });
    return std::move(plan_);
  }

 private:
  template <typename... Args>
  void problem(fmt::format_string<Args...> format, Args&&... args) {
    if (++count_ <= kMostShown) problems_ += "\n  " + fmt::format(format, std::forward<Args>(args)...);
  }

  void add(const Parameter& parameter) {
    const std::string name = family_.their_name(parameter.name);
    const auto found = directory_.tensors().find(name);
    if (found == directory_.tensors().end()) return problem("tensor {} is missing", in_quotes(name));
    unused_.erase(name);
    const SourceTensor& source = found->second;
    const std::vector<int64_t> expected = extents_of(whole_box(parameter.shape), parameter.shape.rank());
    if (source.shape != expected)
      return problem("tensor {} has the shape {}; config.json makes it {}", in_quotes(name), text_of(source.shape),
                     text_of(expected));
    const std::optional<DType> dtype = dtype_of_safetensors(source.dtype);
    if (!dtype || !is_floating(*dtype))
      return problem("tensor {} has the type {}; F32, F64, BF16 and F16 are read", in_quotes(name), source.dtype);
    plan_.tensors.push_back({parameter, &source, *dtype});
    plan_.bytes += source.bytes;
  }

  void add_unused(const std::string& name) {
    const std::optional<std::string> copied = family_.redundant(name);
    if (!copied) return problem("tensor {} is not one of this model", in_quotes(name));
    plan_.redundant[name] = *copied;
  }

  [[noreturn]] void refuse() const {
    const std::string more = count_ > kMostShown ? fmt::format("\n  ... and {} more", count_ - kMostShown) : "";
    throw DataError(fmt::format("the weights do not fit {} ({}):{}{}",
                                printable_name(directory_.config_path().string()), counted(count_, "problem"),
                                problems_, more));
  }

  const ModelDirectory& directory_;
  const ModelFamily& family_;
  const ModelConfig& model_;
  std::map<std::string, SourceTensor> unused_;
  Plan plan_;
  size_t count_ = 0;
  std::string problems_;
};

// Sizes that each are possible may make a model that is not.
void check_size(const ModelConfig& model, const ModelDirectory& directory) {
  const double count = matrix_elements_of(model, std::ssize(model.layers));
  if (count > static_cast<double>(directory.data_bytes()))  // a parameter has two bytes or more
    throw DataError(fmt::format("{} describes a model of {:.3g} parameters, but the weights have {} bytes",
                                printable_name(directory.config_path().string()), count, directory.data_bytes()));
}

// Calls take() with parts of the tensor's data.
void read_parts(const ModelDirectory& directory, const SourceTensor& tensor, std::vector<uint8_t>& part,
                const std::function<void()>& take) {
  const InputFile& file = directory.files()[tensor.file];
  for (int64_t done = 0; done < tensor.bytes; done += static_cast<int64_t>(part.size())) {
    part.resize(static_cast<size_t>(std::min(kPartBytes, tensor.bytes - done)));
    file.read(tensor.offset + done, part.data(), part.size());
    take();
  }
}

// Throws DataError unless the redundant tensor equals the one that it copies. Calls between_parts(), which may throw.
void check_copy(const ModelDirectory& directory, const std::string& name, const std::string& original,
                const std::function<void()>& between_parts) {
  const SourceTensor& copy = directory.tensors().at(name);
  const auto found = directory.tensors().find(original);
  bool equal =
      found != directory.tensors().end() && found->second.dtype == copy.dtype && found->second.shape == copy.shape;
  std::vector<uint8_t> part, other;
  for (int64_t done = 0; equal && done < copy.bytes; done += static_cast<int64_t>(part.size())) {
    between_parts();
    part.resize(static_cast<size_t>(std::min(kPartBytes, copy.bytes - done)));
    other.resize(part.size());
    directory.files()[copy.file].read(copy.offset + done, part.data(), part.size());
    directory.files()[found->second.file].read(found->second.offset + done, other.data(), other.size());
    equal = part == other;
  }
  if (!equal)
    throw DataError(fmt::format("tensor {} differs from {}; the two are one matrix in this model", in_quotes(name),
                                in_quotes(original)));
}

// Writes the tensors to one file, and returns the manifest's entries.
Manifest write_weights(const std::filesystem::path& folder, const ModelDirectory& directory, const Plan& plan,
                       const BytesDone& progress, FileSystem& system) {
  std::vector<SafetensorsTensor> layout;
  for (const Planned& tensor : plan.tensors)
    layout.push_back({tensor.parameter.name, tensor.dtype, tensor.source->shape});
  const std::string header = safetensors_header(layout, {{"format", "pt"}, {"program", program_name()}});
  OutputFile file(system, folder / kWeights);
  file.write(header);
  Manifest manifest;
  int64_t done = 0;
  std::vector<uint8_t> part;
  for (const Planned& tensor : plan.tensors) {
    const Parameter& parameter = tensor.parameter;
    Crc32c crc;
    read_parts(directory, *tensor.source, part, [&] {
      crc.update(part.data(), part.size());
      file.write(part.data(), part.size());
      progress(done += static_cast<int64_t>(part.size()), plan.bytes);
    });
    const ManifestPiece piece{0, parameter.name, whole_box(parameter.shape), crc.value()};
    manifest.tensors.push_back({parameter.name, tensor.dtype, parameter.shape, {piece}});
  }
  file.close();
  manifest.files.push_back({kWeights, file.size(), crc32c(header)});
  return manifest;
}

}  // namespace

ImportReport import_model(const std::filesystem::path& directory_path, const std::filesystem::path& checkpoint,
                          const std::set<std::string>& ignored_keys, const BytesDone& progress, FileSystem& system) {
  if (step_named(checkpoint))
    throw ConfigurationError(fmt::format("{} is named like a run's checkpoint; give an import another name",
                                         printable_name(checkpoint.string())));
  const ModelDirectory directory(directory_path, system);
  ConfigKeys keys(directory.config(), ignored_keys);
  const std::string config_name = printable_name(directory.config_path().string());
  const ModelFamily& family = family_of_type(keys.text("model_type").value_or(""), config_name);
  ImportReport report;
  report.architecture = family.architecture;
  report.model = family.read(keys);
  keys.finish(config_name);
  check_size(report.model, directory);
  const Plan plan = Planner(directory, family, report.model).plan();

  NewDirectory output(system, checkpoint);
  output.require_room(plan.bytes);
  for (const auto& [name, original] : plan.redundant)
    if (!original.empty()) check_copy(directory, name, original, [&] { progress(0, plan.bytes); });
  Manifest manifest = write_weights(output.temporary(), directory, plan, progress, system);
  manifest.program = program_name();
  manifest.mesh = {1, 1, 1};
  manifest.run.config_text = model_text(report.model);
  manifest.source_files = write_source_files(system, output.temporary(), directory.source_files());
  create_file(system, output.temporary() / kManifestName, manifest_text(manifest));
  report.durable = output.take_name();

  report.keys = keys.reports();
  for (const auto& [name, _] : plan.redundant) report.redundant.push_back(name);
  for (const SourceFile& small : directory.source_files()) report.carried.push_back(small.name);
  report.left_behind = directory.left_behind();
  report.bytes = plan.bytes;
  for (const Planned& tensor : plan.tensors) {
    report.parameters += tensor.parameter.rows() * tensor.parameter.columns();
    if (std::ranges::find(report.types, tensor.source->dtype) == report.types.end())
      report.types.push_back(tensor.source->dtype);
  }
  return report;
}

}  // namespace ropewalk

// Rank 0 lists the checkpoints and reads manifests. Every rank reads the pieces that it needs. A checkpoint is used
// only if all ranks succeeded.
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <unordered_map>

#include "parallel/communicator/communicator.h"
#include "trainer/checkpoint/box_cover.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/piece_file.h"
#include "trainer/checkpoint/piece_reader.h"
#include "trainer/checkpoint/source_files.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr const char* kOtherModel =
    "use the model that it was saved with (its manifest has the whole configuration), or another output.directory";

// "model" or "optimizer": a tensor's name up to the first dot.
std::string group_of(const std::string& name) { return name.substr(0, name.find('.')); }

// 1 for each tensor of the manifest that any rank needs, else 0.
std::vector<float> wanted_anywhere(const Manifest& manifest, std::span<const StateTensor> into, Communicator& world) {
  std::set<std::string> names;
  for (const StateTensor& tensor : into) names.insert(tensor.name);
  std::vector<float> wanted;
  for (const ManifestTensor& tensor : manifest.tensors) wanted.push_back(names.contains(tensor.name) ? 1 : 0);
  world.all_reduce(Tensor(wanted.data(), DType::kF32, Device{}, {static_cast<int64_t>(wanted.size())}),
                   Reduction::kMax);
  return wanted;
}

// Checks that the manifest has every tensor of this rank, in the right shape; and that in the groups of which any rank
// needs a tensor, every saved tensor is needed by some rank.
void check_model(const std::filesystem::path& checkpoint, const Manifest& manifest, std::span<const StateTensor> into,
                 std::span<const float> wanted) {
  std::unordered_map<std::string, const ManifestTensor*> by_name;
  for (const ManifestTensor& tensor : manifest.tensors) by_name[tensor.name] = &tensor;
  for (const StateTensor& tensor : into) {
    CHECK(contains(whole_box(tensor.shape), tensor.box) && tensor.data.elements() == tensor.box.elements(),
          "{}: {} elements for {} of {}", tensor.name, tensor.data.elements(), text_of(tensor.box),
          tensor.shape.text());
    const auto found = by_name.find(tensor.name);
    if (found == by_name.end()) {
      throw ConfigurationError(fmt::format("{} is of another model: it has no tensor {}; {}", checkpoint.string(),
                                           in_quotes(tensor.name), kOtherModel));
    }
    if (found->second->shape != tensor.shape) {
      throw ConfigurationError(fmt::format("{} is of another model: tensor {} is {} there and {} here; {}",
                                           checkpoint.string(), in_quotes(tensor.name), found->second->shape.text(),
                                           tensor.shape.text(), kOtherModel));
    }
  }
  std::set<std::string> groups;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] > 0) groups.insert(group_of(manifest.tensors[i].name));
  }
  for (size_t i = 0; i < wanted.size(); ++i) {
    const std::string& name = manifest.tensors[i].name;
    if (wanted[i] == 0 && groups.contains(group_of(name))) {
      throw ConfigurationError(fmt::format("{} is of another model: this one has no tensor {}; {}", checkpoint.string(),
                                           in_quotes(name), kOtherModel));
    }
  }
}

struct Outcome {
  LoadedCheckpoint checkpoint;
  std::optional<std::string> refusal;  // why it cannot be used; the same on all ranks
};

// expected_step: the step in the directory's name; nullopt: not checked.
Outcome try_load(const std::filesystem::path& checkpoint, std::optional<int64_t> expected_step,
                 std::span<const StateTensor> into, Mesh& mesh, Kernels& kernels, FileSystem& files) {
  Communicator& world = mesh.world();
  const bool leads = world.rank() == 0;
  std::string text;
  std::optional<std::string> refusal = first_failure(world, [&] {
    if (!leads) return;
    text = read_manifest_text(files, checkpoint);
    parse_manifest(text);
  });
  if (refusal) return {{}, refusal};
  const Manifest manifest = parse_manifest(broadcast_text(world, text, 0));
  check_version(checkpoint, manifest);
  const std::vector<float> wanted = wanted_anywhere(manifest, into, world);
  const auto other_model = first_failure(world, [&] { check_model(checkpoint, manifest, into, wanted); });
  if (other_model) throw ConfigurationError(*other_model);

  RunDescription run = manifest.run;
  refusal = first_failure(world, [&] {
    if (expected_step && manifest.progress.step != *expected_step) {
      throw CheckpointError(
          fmt::format("its manifest is of step {}; rename the directory back", manifest.progress.step));
    }
    if (leads) check_files(files, checkpoint, manifest);
    if (leads) run.source_files = read_source_files(files, checkpoint, manifest.source_files);
    read_pieces(files, checkpoint, manifest, into, kernels);
  });
  return {{checkpoint, manifest.progress, manifest.mesh, run}, refusal};
}

// Returns on all ranks the text that make() returns on rank 0.
std::string agreed_text(Communicator& world, const std::function<std::string()>& make) {
  std::string text;
  const auto failure = first_failure(world, [&] {
    if (world.rank() == 0) text = make();
  });
  if (failure) throw CheckpointError(*failure);
  return broadcast_text(world, text, 0);
}

// Rank 0's list, on all ranks: a shared file system may show the others an older state.
std::vector<CheckpointPath> agreed_list(const std::filesystem::path& directory, Communicator& world) {
  const std::string lines = agreed_text(world, [&] {
    std::string text;
    for (const CheckpointPath& checkpoint : list_checkpoints(directory)) {
      text += fmt::format("{} {}\n", checkpoint.step, checkpoint.path.filename().string());
    }
    return text;
  });
  std::vector<CheckpointPath> checkpoints;
  for (size_t begin = 0; begin < lines.size();) {
    const size_t space = lines.find(' ', begin), end = lines.find('\n', begin);
    checkpoints.push_back(
        {std::stoll(lines.substr(begin, space - begin)), directory / lines.substr(space + 1, end - space - 1)});
    begin = end + 1;
  }
  return checkpoints;
}

// "; existing checkpoints: step 12, step 8; set aside (rename to use): step-00000004.aside", for a directory without
// the wanted checkpoint.
std::string what_there_is(const std::filesystem::path& directory, int64_t wanted) {
  std::string text;
  if (kind_of(checkpoint_path(directory, wanted)) != PathKind::kNone)
    text =
        fmt::format("; {} is not a directory, so it is not a checkpoint", checkpoint_path(directory, wanted).string());
  std::vector<int64_t> steps;
  for (const CheckpointPath& checkpoint : list_checkpoints(directory))
    if (steps.empty() || steps.back() != checkpoint.step) steps.push_back(checkpoint.step);
  text += steps.empty() ? "; it has none" : fmt::format("; existing checkpoints: step {}", fmt::join(steps, ", step "));
  const std::vector<std::string> aside = list_set_aside(directory);
  if (!aside.empty()) text += fmt::format("; set aside (rename to use): {}", fmt::join(aside, ", "));
  return text;
}

}  // namespace

std::filesystem::path find_checkpoint(const std::filesystem::path& directory, int64_t step, Mesh& mesh) {
  for (const CheckpointPath& checkpoint : agreed_list(directory, mesh.world()))
    if (checkpoint.step == step) return checkpoint.path;
  throw CheckpointError(fmt::format("{} has no checkpoint of step {} ({}){}", directory.string(), step,
                                    checkpoint_path(directory, step).filename().string(),
                                    agreed_text(mesh.world(), [&] { return what_there_is(directory, step); })));
}

std::optional<LoadedCheckpoint> load_newest_checkpoint(const std::filesystem::path& directory,
                                                       std::span<const StateTensor> into, Mesh& mesh, Kernels& kernels,
                                                       const std::function<void(const std::string&)>& warn,
                                                       FileSystem& files) {
  const std::vector<CheckpointPath> checkpoints = agreed_list(directory, mesh.world());
  const std::string strays =
      agreed_text(mesh.world(), [&] { return fmt::format("{}", fmt::join(list_strays(directory), ", ")); });
  if (!strays.empty())
    warn(
        fmt::format("warning: in {} these are named like checkpoints but are not directories; they are ignored, and no "
                    "checkpoint of their step can be saved until they are moved: {}",
                    directory.string(), strays));
  if (checkpoints.empty()) return std::nullopt;
  std::string newest_refusal;
  for (const CheckpointPath& candidate : checkpoints) {
    Outcome outcome = try_load(candidate.path, candidate.step, into, mesh, kernels, files);
    if (!outcome.refusal) {
      if (!newest_refusal.empty()) warn(fmt::format("using the older checkpoint {}", candidate.path.string()));
      return outcome.checkpoint;
    }
    warn(fmt::format("checkpoint {} is refused: {}", candidate.path.string(), *outcome.refusal));
    if (newest_refusal.empty()) newest_refusal = *outcome.refusal;
  }
  throw CheckpointError(fmt::format(
      "none of the {} checkpoints in {} is complete; the newest, {}, is refused: {}. Restore one from a copy, or "
      "start a new run in another output.directory",
      checkpoints.size(), directory.string(), checkpoints[0].path.filename().string(), newest_refusal));
}

LoadedCheckpoint load_checkpoint(const std::filesystem::path& checkpoint, std::span<const StateTensor> into, Mesh& mesh,
                                 Kernels& kernels, FileSystem& files) {
  Outcome outcome = try_load(checkpoint, step_named(checkpoint), into, mesh, kernels, files);
  if (outcome.refusal) {
    throw CheckpointError(fmt::format("checkpoint {} is refused: {}", checkpoint.string(), *outcome.refusal));
  }
  return outcome.checkpoint;
}

}  // namespace ropewalk

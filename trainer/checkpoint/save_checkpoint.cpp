// Each rank writes the boxes that it saves to its own file. Rank 0 writes the manifest and renames the directory to its
// final name.
#include <algorithm>

#include "parallel/communicator/communicator.h"
#include "trainer/checkpoint/box_cover.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/source_files.h"
#include "trainer/files/crc32c.h"
#include "trainer/files/output_file.h"
#include "trainer/formats/safetensors.h"

namespace ropewalk {
namespace {

constexpr int64_t kChunkBytes = 8 << 20;  // of host memory, through which device data pass

// A box that is the whole tensor keeps the tensor's name, so that any tool can read a single rank's checkpoint as a
// model.
std::string name_in_file(const StateTensor& tensor) {
  if (tensor.box == whole_box(tensor.shape)) return tensor.name;
  return fmt::format("{}[{}:{},{}:{}]", tensor.name, tensor.box.row_begin, tensor.box.row_end, tensor.box.column_begin,
                     tensor.box.column_end);
}

// Wider elements first: safetensors_header() requires it.
std::vector<const StateTensor*> saved_here(std::span<const StateTensor> tensors) {
  std::vector<const StateTensor*> saved;
  for (const StateTensor& tensor : tensors) {
    if (tensor.saved_here && tensor.box.elements() > 0) saved.push_back(&tensor);
  }
  std::stable_sort(saved.begin(), saved.end(), [](const StateTensor* a, const StateTensor* b) {
    return size_of(a->data.dtype()) > size_of(b->data.dtype());
  });
  return saved;
}

std::vector<SafetensorsTensor> layout_of(std::span<const StateTensor* const> tensors) {
  std::vector<SafetensorsTensor> layout;
  for (const StateTensor* tensor : tensors)
    layout.push_back({name_in_file(*tensor), tensor->data.dtype(), extents_of(tensor->box, tensor->shape.rank())});
  return layout;
}

// Writes the tensor's elements and returns their checksum.
uint32_t write_data(OutputFile& file, const Tensor& data, Kernels& kernels, std::vector<uint8_t>& chunk) {
  const Tensor flat = data.flat();
  const int64_t per_chunk = kChunkBytes / size_of(data.dtype());
  Crc32c crc;
  for (int64_t begin = 0; begin < flat.elements(); begin += per_chunk) {
    const Tensor part = flat.slice(begin, std::min(begin + per_chunk, flat.elements()));
    const auto bytes = static_cast<size_t>(part.bytes());
    if (chunk.size() < bytes) chunk.resize(bytes);
    kernels.download(part, chunk.data());
    crc.update(chunk.data(), bytes);
    file.write(chunk.data(), bytes);
  }
  return crc.value();
}

// Writes this rank's file, if it saves anything, and adds its contents to the manifest.
void write_rank_file(FileSystem& files, const std::filesystem::path& directory, int rank, int64_t step,
                     std::span<const StateTensor> tensors, Kernels& kernels, Manifest& manifest) {
  const std::vector<const StateTensor*> saved = saved_here(tensors);
  if (saved.empty()) return;
  const std::vector<SafetensorsTensor> layout = layout_of(saved);
  // Hugging Face's loader requires "format". Step and rank make each file's header unique, so that its checksum
  // distinguishes files of equal layout.
  const std::string header = safetensors_header(
      layout,
      {{"format", "pt"}, {"program", program_name()}, {"step", std::to_string(step)}, {"rank", std::to_string(rank)}});
  OutputFile file(files, directory / fmt::format("rank-{:05}.safetensors", rank));
  file.write(header);
  std::vector<uint8_t> chunk;
  for (size_t i = 0; i < saved.size(); ++i) {
    const StateTensor& tensor = *saved[i];
    const ManifestPiece piece{0, layout[i].name, tensor.box, write_data(file, tensor.data, kernels, chunk)};
    manifest.tensors.push_back({tensor.name, tensor.data.dtype(), tensor.shape, {piece}});
  }
  file.close();
  manifest.files.push_back({file.path().filename().string(), file.size(), crc32c(header)});
}

// This rank's part of the manifest. It lists all tensors of the rank, so that one which no rank saves is noticed.
Manifest write_part(FileSystem& files, const std::filesystem::path& directory, int rank, int64_t step,
                    std::span<const StateTensor> tensors, Kernels& kernels) {
  Manifest known;
  for (const StateTensor& tensor : tensors) {
    CHECK(tensor.data.elements() == tensor.box.elements(), "{}: {} elements for {}", tensor.name,
          tensor.data.elements(), text_of(tensor.box));
    known.tensors.push_back({tensor.name, tensor.data.dtype(), tensor.shape, {}});
  }
  write_rank_file(files, directory, rank, step, tensors, kernels, known);
  Manifest part;
  merge_manifest(part, known);  // joins the entries of each tensor
  return part;
}

void write_manifest(FileSystem& files, const std::filesystem::path& directory, Manifest whole,
                    std::span<const std::string> parts) {
  for (const std::string& part : parts) merge_manifest(whole, parse_manifest(part));
  check_covered(whole);
  create_file(files, directory / kManifestName, manifest_text(whole));
}

// Does all steps up to the commit; returns the first failure, nullopt if there is none.
std::optional<std::string> try_save(const std::filesystem::path& directory, const TrainingProgress& progress,
                                    std::span<const StateTensor> tensors, const RunDescription& run, Mesh& mesh,
                                    Kernels& kernels, FileSystem& files) {
  Communicator& world = mesh.world();
  const bool leads = world.rank() == 0;
  const std::filesystem::path temporary = temporary_path(directory, progress.step);
  Manifest mine;
  std::optional<std::string> failure = first_failure(world, [&] {
    if (leads) begin_checkpoint(files, directory, progress.step);
  });
  if (failure) return failure;
  failure =
      first_failure(world, [&] { mine = write_part(files, temporary, world.rank(), progress.step, tensors, kernels); });
  if (failure) return failure;
  const std::vector<std::string> parts = gather_texts(world, manifest_text(mine));
  return first_failure(world, [&] {
    if (!leads) return;
    const std::vector<ManifestSourceFile> source = write_source_files(files, temporary, run.source_files);
    write_manifest(files, temporary, {kManifestVersion, program_name(), progress, mesh.shape(), run, {}, {}, source},
                   parts);
    commit_checkpoint(files, directory, progress.step);
  });
}

}  // namespace

void save_checkpoint(const std::filesystem::path& directory, const TrainingProgress& progress,
                     std::span<const StateTensor> tensors, const RunDescription& run, Mesh& mesh, Kernels& kernels,
                     FileSystem& files) {
  CHECK(progress.step >= 0, "step {}", progress.step);
  const auto failure = try_save(directory, progress, tensors, run, mesh, kernels, files);
  if (!failure) return;
  if (mesh.world().rank() == 0) discard_checkpoint(files, directory, progress.step);
  throw CheckpointError(
      fmt::format("{} was not saved: {}", checkpoint_path(directory, progress.step).string(), *failure));
}

void remove_old_checkpoints(const std::filesystem::path& directory, int64_t step, int64_t keep, Mesh& mesh,
                            FileSystem& files) {
  CHECK(keep >= 0, "keep {}", keep);
  const auto failure = first_failure(mesh.world(), [&] {
    if (mesh.world().rank() == 0) remove_old_checkpoints(files, directory, step, keep);
  });
  if (failure) throw CheckpointError(fmt::format("an older checkpoint could not be removed: {}", *failure));
}

void set_aside_later_checkpoints(const std::filesystem::path& directory, int64_t step, Mesh& mesh, FileSystem& files) {
  const auto failure = first_failure(mesh.world(), [&] {
    if (mesh.world().rank() == 0) set_aside_later_checkpoints(files, directory, step);
  });
  if (failure) throw CheckpointError(*failure);
}

}  // namespace ropewalk

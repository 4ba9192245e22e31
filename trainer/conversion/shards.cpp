#include "trainer/conversion/shards.h"

#include <algorithm>
#include <chrono>

#include "trainer/checkpoint/box_cover.h"
#include "trainer/files/crc32c.h"
#include "trainer/files/input_file.h"
#include "trainer/formats/elements.h"
#include "trainer/formats/safetensors.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr std::chrono::milliseconds kBetweenReports{100};

// Reads a shard again. Throws DataError if it does not hold what was written.
void read_back(FileSystem& system, const std::filesystem::path& path, const Shard& shard, ShardProgress& progress,
               const std::atomic<bool>& stop) {
  const InputFile file(system, path);
  const auto refuse = [&](const std::string& what) {
    throw DataError(
        fmt::format("{}: {} is not what was written; check the device", printable_name(path.string()), what));
  };
  SafetensorsHeader header;
  try {
    header = read_safetensors_header(file);
  } catch (const CheckpointError&) {
    refuse("the header");
  }
  if (header.crc32c != shard.header_crc32c) refuse("the header");
  std::vector<uint8_t> part;
  for (size_t i = 0; i < shard.tensors.size(); ++i) {
    const ExportedTensor& tensor = shard.tensors[i];
    const SafetensorsEntry& entry = header.entries[i];
    Crc32c crc;
    for (int64_t at = entry.begin; at < entry.end && !stop; at += static_cast<int64_t>(part.size())) {
      part.resize(static_cast<size_t>(std::min(TensorStream::kPartBytes, entry.end - at)));
      file.read(header.data_begin + at, part.data(), part.size());
      crc.update(part.data(), part.size());
      progress.add(static_cast<int64_t>(part.size()));
    }
    if (stop) return;
    if (crc.value() != tensor.crc32c) refuse(fmt::format("tensor {}", in_quotes(tensor.name)));
  }
}

}  // namespace

std::vector<Shard> shards_of(std::vector<ExportedTensor> tensors, int64_t most_bytes) {
  std::vector<Shard> shards(1);
  int64_t filled = 0;
  for (ExportedTensor& tensor : tensors) {
    if (!shards.back().tensors.empty() && filled + tensor.bytes() > most_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    filled += tensor.bytes();
    shards.back().tensors.push_back(std::move(tensor));
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    shards[i].name = shards.size() == 1 ? "model.safetensors"
                                        : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    std::stable_sort(
        shards[i].tensors.begin(), shards[i].tensors.end(),
        [](const ExportedTensor& a, const ExportedTensor& b) { return size_of(a.dtype) > size_of(b.dtype); });
  }
  return shards;
}

std::unique_ptr<OutputFile> ShardWriter::write(FileSystem& system, const std::filesystem::path& directory,
                                               Shard& shard) {
  std::vector<SafetensorsTensor> layout;
  for (const ExportedTensor& tensor : shard.tensors)
    layout.push_back(
        {tensor.name, tensor.dtype, extents_of(whole_box(tensor.source->shape), tensor.source->shape.rank())});
  auto file = std::make_unique<OutputFile>(system, directory / shard.name);
  const std::string header = safetensors_header(layout, {{"format", "pt"}, {"program", program_name()}});
  shard.header_crc32c = crc32c(header);
  file->write(header);
  for (ExportedTensor& tensor : shard.tensors) write(*file, tensor);
  return file;
}

void ShardWriter::write(OutputFile& file, ExportedTensor& tensor) {
  const DType from = tensor.source->dtype;
  const bool is_copy = from == tensor.dtype && tensor.source->pieces.size() == 1;  // then the manifest has its checksum
  Crc32c crc;
  int64_t overflows = 0;
  source_.read(*tensor.source, [&](std::span<const uint8_t> part) {
    if (from != tensor.dtype) {
      const auto count = static_cast<int64_t>(part.size()) / size_of(from);
      converted_.resize(static_cast<size_t>(count * size_of(tensor.dtype)));
      overflows += convert_elements(part.data(), from, converted_.data(), tensor.dtype, count);
      part = converted_;
    }
    if (!is_copy) crc.update(part.data(), part.size());
    file.write(part.data(), part.size());
    progress_.add(static_cast<int64_t>(part.size()));
    progress_.tell();
  });
  if (overflows > 0)
    throw DataError(
        fmt::format("{} of tensor {} would be infinite in {}; choose a type with a larger range: "
                    "bf16 or fp32",
                    counted(overflows, "value"), in_quotes(tensor.name), name_of(tensor.dtype)));
  tensor.crc32c = is_copy ? tensor.source->pieces.front().crc32c : crc.value();
}

void ShardChecker::check(std::unique_ptr<OutputFile> file, const Shard& shard) {
  wait();
  running_ = std::async(std::launch::async, [this, &shard, file = std::move(file)] {
    read_back(system_, file->path(), shard, progress_, stop_);
    if (!stop_) file->close();  // an export that was stopped does not wait for the disk
  });
}

void ShardChecker::wait() {
  if (!running_.valid()) return;
  while (running_.wait_for(kBetweenReports) != std::future_status::ready) progress_.tell();
  running_.get();
  progress_.tell();
}

}  // namespace ropewalk

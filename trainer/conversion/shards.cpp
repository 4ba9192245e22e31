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

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what) {
  throw DataError(fmt::format("{}: {} is not what was written; check the device", printable_name(path.string()), what));
}

void check_tensor(const InputFile& file, const ExportedTensor& tensor, int64_t offset, ShardProgress& progress,
                  const std::atomic<bool>& stop) {
  std::vector<uint8_t> part;
  Crc32c crc;
  const int64_t end = offset + tensor.bytes();
  for (int64_t at = offset; at < end; at += static_cast<int64_t>(part.size())) {
    if (stop) return;
    part.resize(static_cast<size_t>(std::min(TensorStream::kPartBytes, end - at)));
    file.read(at, part.data(), part.size());
    crc.update(part.data(), part.size());
    progress.add(static_cast<int64_t>(part.size()));
  }
  if (crc.value() != tensor.crc32c) refuse(file.path(), fmt::format("tensor {}", in_quotes(tensor.name)));
}

void check_header(const InputFile& file, const Shard& shard) {
  try {
    if (read_safetensors_header(file).crc32c == shard.header_crc32c) return;
  } catch (const CheckpointError&) {
  }
  refuse(file.path(), "the header");
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

void ShardWriter::write(FileSystem& system, const std::filesystem::path& directory, Shard& shard) {
  std::vector<SafetensorsTensor> layout;
  for (const ExportedTensor& tensor : shard.tensors)
    layout.push_back(
        {tensor.name, tensor.dtype, extents_of(whole_box(tensor.source->shape), tensor.source->shape.rank())});
  auto file = std::make_unique<OutputFile>(system, directory / shard.name);
  const std::string header = safetensors_header(layout, {{"format", "pt"}, {"program", program_name()}});
  shard.header_crc32c = crc32c(header);
  file->write(header);
  for (ExportedTensor& tensor : shard.tensors) {
    const int64_t offset = file->size();
    write(*file, tensor);
    checker_.check(file->path(), tensor, offset);
  }
  checker_.finish(std::move(file), shard);
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

ShardChecker::ShardChecker(FileSystem& system, ShardProgress& progress)
    : system_(system), progress_(progress), working_(std::async(std::launch::async, [this] { work(); })) {}

ShardChecker::~ShardChecker() {
  stop_ = true;  // a stopped export does not wait for the disk if it need not
  const std::lock_guard lock(mutex_);
  complete_ = true;
  changed_.notify_one();
}

void ShardChecker::check(const std::filesystem::path& path, const ExportedTensor& tensor, int64_t offset) {
  run([this, path, &tensor, offset] { check_tensor(InputFile(system_, path), tensor, offset, progress_, stop_); });
}

void ShardChecker::finish(std::unique_ptr<OutputFile> file, const Shard& shard) {
  run([this, path = file->path(), &shard] { check_header(InputFile(system_, path), shard); });
  closing_.push_back(std::async(std::launch::async, [this, file = std::move(file)] {
    if (!stop_) file->close();
  }));
}

void ShardChecker::wait() {
  {
    const std::lock_guard lock(mutex_);
    complete_ = true;
    changed_.notify_one();
  }
  wait_for(working_);
  for (std::future<void>& closing : closing_) wait_for(closing);
}

// Throws what the thread has thrown.
void ShardChecker::run(std::function<void()> task) {
  if (working_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) return working_.get();
  const std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  changed_.notify_one();
}

void ShardChecker::work() {
  while (!stop_) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !tasks_.empty() || complete_; });
    if (tasks_.empty()) return;
    const std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
  }
}

void ShardChecker::wait_for(std::future<void>& running) {
  while (running.wait_for(kBetweenReports) != std::future_status::ready) progress_.tell();
  running.get();
  progress_.tell();
}

}  // namespace ropewalk

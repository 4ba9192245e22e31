// The files of weights of a model that is being exported: which tensors each holds, writing them, and reading them
// back.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/tensor_stream.h"
#include "trainer/conversion/import_model.h"
#include "trainer/files/output_file.h"

namespace ropewalk {

struct ExportedTensor {
  const ManifestTensor* source;
  std::string name;     // theirs
  DType dtype;          // as written
  uint32_t crc32c = 0;  // of the data as written
  int64_t bytes() const { return source->shape.elements() * size_of(dtype); }
};

struct Shard {
  std::string name;  // of the file
  std::vector<ExportedTensor> tensors;
  uint32_t header_crc32c = 0;  // as written
};

// Fills one file after the other with at most `most_bytes` of data; a larger tensor has a file of its own.
std::vector<Shard> shards_of(std::vector<ExportedTensor> tensors, int64_t most_bytes);

// Counts what has been written and read back, on two threads; tells it on one.
class ShardProgress {
 public:
  ShardProgress(const BytesDone& tell, int64_t total) : tell_(tell), total_(total) {}
  void add(int64_t bytes) { done_ += bytes; }
  void tell() const { tell_(done_, total_); }  // may throw, to stop

 private:
  const BytesDone& tell_;
  const int64_t total_;
  std::atomic<int64_t> done_ = 0;
};

// Reads back what was written, on a thread of its own while more is written: the page cache still has it then. Each
// shard is closed, which waits for the disk, on another thread. All functions throw what a check
// threw: DataError if a file does not hold what was written.
class ShardChecker {
 public:
  ShardChecker(FileSystem& system, ShardProgress& progress);
  ~ShardChecker();

  // `tensor` is complete in the file at `path`, from `offset` on. It must stay.
  void check(const std::filesystem::path& path, const ExportedTensor& tensor, int64_t offset);
  // The shard is complete, and its tensors have been given to check(). It must stay.
  void finish(std::unique_ptr<OutputFile> file, const Shard& shard);
  void wait();  // for all checks, and for the disk

 private:
  void run(std::function<void()> task);
  void work();
  void wait_for(std::future<void>& running);

  FileSystem& system_;
  ShardProgress& progress_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool complete_ = false;  // no more tasks follow
  std::atomic<bool> stop_ = false;
  std::vector<std::future<void>> closing_;
  std::future<void> working_;  // the last member: destroyed first
};

class ShardWriter {
 public:
  ShardWriter(TensorStream& source, ShardProgress& progress, ShardChecker& checker)
      : source_(source), progress_(progress), checker_(checker) {}

  // Writes the shard, notes the checksums of its header and of each tensor in it, and gives them to the checker. Throws
  // DataError if a value would be infinite in its new type.
  void write(FileSystem& system, const std::filesystem::path& directory, Shard& shard);

 private:
  void write(OutputFile& file, ExportedTensor& tensor);

  TensorStream& source_;
  ShardProgress& progress_;
  ShardChecker& checker_;
  std::vector<uint8_t> converted_;
};

}  // namespace ropewalk

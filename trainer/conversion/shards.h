// The files of weights of a model that is being exported: which tensors each holds, writing them, and reading them
// back.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
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

class ShardWriter {
 public:
  ShardWriter(TensorStream& source, ShardProgress& progress) : source_(source), progress_(progress) {}

  // Writes the shard, and notes the checksums of its header and of each tensor in it. Leaves the file open: closing it
  // waits for the disk. Throws DataError if a value would be infinite in its new type.
  std::unique_ptr<OutputFile> write(FileSystem& system, const std::filesystem::path& directory, Shard& shard);

 private:
  void write(OutputFile& file, ExportedTensor& tensor);

  TensorStream& source_;
  ShardProgress& progress_;
  std::vector<uint8_t> converted_;
};

// Reads a shard back and closes it, which waits for the disk, on another thread, while the next one is written.
class ShardChecker {
 public:
  ShardChecker(FileSystem& system, ShardProgress& progress) : system_(system), progress_(progress) {}
  ~ShardChecker() { stop_ = true; }  // the future's destructor waits for the thread

  // Waits for the check of the shard before, then starts this one's; `shard` must stay. Both throw what the check that
  // they wait for threw: DataError if the file does not hold what was written.
  void check(std::unique_ptr<OutputFile> file, const Shard& shard);
  void wait();

 private:
  FileSystem& system_;
  ShardProgress& progress_;
  std::atomic<bool> stop_ = false;
  std::future<void> running_;  // the last member: destroyed first
};

}  // namespace ropewalk

// Files to read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <span>
#include <string>

#include "trainer/files/file_system.h"

namespace ropewalk {

// Thrown if a signal interrupts the opening of training data, or read_next(). InputFile::read() tries again instead.
// Happens only with signal handlers installed without SA_RESTART, as those of `ropewalk prepare` are.
struct Interrupted : std::exception {
  const char* what() const noexcept override { return "interrupted by a signal"; }
};

class InputFile {
 public:
  // FileOwner::kRun: the path must be a regular file, and no symbolic link. FileOwner::kData: a regular file, a pipe or
  // a device, also through symbolic links, but not a folder.
  InputFile(FileSystem& system, std::filesystem::path path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile();

  FileOwner owner() const { return system_.owner(); }
  const std::filesystem::path& path() const { return path_; }
  int64_t size() const { return size_; }  // when the file was opened
  int descriptor() const { return file_; }

  // Reads `bytes` bytes from `offset` on. Throws if the file ends before.
  void read(int64_t offset, void* data, size_t bytes) const;
  // Reads the next bytes, and returns how many: fewer than bytes.size() only at the end of the file. Throws
  // Interrupted, as opening a pipe may.
  size_t read_next(std::span<char> bytes);

  struct Version {  // changes if a regular file is modified; always 0 for pipes and devices
    int64_t size = 0, seconds = 0, nanoseconds = 0;
    bool operator==(const Version&) const = default;
  };
  Version version() const;
  bool has_name() const;  // whether path() still leads to this file (leads_to())

 private:
  FileSystem& system_;
  std::filesystem::path path_;
  int file_;
  int64_t size_ = 0;
};

// The whole file. Throws if it has more than `limit` bytes.
std::string read_text(FileSystem& system, const std::filesystem::path& path, int64_t limit);

// A file mapped into memory, read-only. The file must not shrink while it is mapped.
class MappedFile {
 public:
  explicit MappedFile(InputFile file);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();
  std::span<const std::byte> bytes() const { return {data_, static_cast<size_t>(file_.size())}; }
  bool has_name() const { return file_.has_name(); }

 private:
  InputFile file_;
  const std::byte* data_ = nullptr;
};

}  // namespace ropewalk

// Files that are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <span>
#include <string>

#include "trainer/files/file_system.h"

namespace ropewalk {

// Thrown where a signal that is caught without SA_RESTART breaks a wait for input; nobody else catches such signals.
struct Interrupted : std::exception {
  const char* what() const noexcept override { return "interrupted by a signal"; }
};

class InputFile {
 public:
  // A run's file is regular, and not reached through a symbolic link. Data are what a user names, also through links: a
  // regular file, a pipe, a device, but no folder.
  InputFile(FileSystem& system, std::filesystem::path path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile();

  FileOwner owner() const { return system_.owner(); }
  const std::filesystem::path& path() const { return path_; }
  int64_t size() const { return size_; }  // when it was opened
  int descriptor() const { return file_; }

  // `bytes` bytes from `offset` on. Throws where the file ends before.
  void read(int64_t offset, void* data, size_t bytes) const;
  // The next bytes, fewer only at the end. Throws Interrupted, as opening a pipe does.
  size_t read_next(std::span<char> bytes);

  struct Version {  // tells whether a regular file was written; of others, nothing does
    int64_t size = 0, seconds = 0, nanoseconds = 0;
    bool operator==(const Version&) const = default;
  };
  Version version() const;
  bool has_name() const;  // leads_to() of its path: it was not replaced or removed

 private:
  FileSystem& system_;
  std::filesystem::path path_;
  int file_;
  int64_t size_ = 0;
};

// The whole file, which may have at most `limit` bytes.
std::string read_text(FileSystem& system, const std::filesystem::path& path, int64_t limit);

// A file's bytes as memory, read-only. The file must not shrink meanwhile.
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

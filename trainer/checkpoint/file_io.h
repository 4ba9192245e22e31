// The way to the disk: every system call that writes or reads a checkpoint goes through FileSystem, so that a test can
// let any one of them fail or end the program. The classes below loop over short and interrupted calls and turn every
// error into a CheckpointError that names the path and the system's reason.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/error.h"

namespace ropewalk {

// The calls as POSIX has them: -1 and errno on failure.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual int open(const char* path, int flags, mode_t mode);
  virtual ssize_t write(int file, const void* data, size_t bytes);
  virtual ssize_t pread(int file, void* data, size_t bytes, int64_t offset);
  virtual int fsync(int file);
  virtual int close(int file);
  virtual int rename(const char* from, const char* to);
  virtual int mkdir(const char* path, mode_t mode);
  virtual int unlink(const char* path);
  virtual int rmdir(const char* path);
};

FileSystem& real_file_system();  // has no state

// A new file; one that exists already is an error. close() makes it durable; a file that is not closed is abandoned.
class OutputFile {
 public:
  OutputFile(FileSystem& system, std::filesystem::path path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const void* data, size_t bytes);
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  void close();  // fsync and close
  int64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  FileSystem& system_;
  std::filesystem::path path_;
  int file_;
  int64_t size_ = 0;
};

// A regular file, opened without following a symbolic link; anything else is an error.
class InputFile {
 public:
  InputFile(FileSystem& system, std::filesystem::path path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  int64_t size() const { return size_; }  // when it was opened
  void read(int64_t offset, void* data, size_t bytes) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  FileSystem& system_;
  std::filesystem::path path_;
  int file_;
  int64_t size_ = 0;
};

// The whole file, which may have at most `limit` bytes.
std::string read_text(FileSystem& system, const std::filesystem::path& path, int64_t limit);

void rename_path(FileSystem& system, const std::filesystem::path& from, const std::filesystem::path& to);
void make_directory(FileSystem& system, const std::filesystem::path& path);    // its parent must exist
void remove_file(FileSystem& system, const std::filesystem::path& path);       // or a link, not followed
void remove_directory(FileSystem& system, const std::filesystem::path& path);  // with the files in it; no deeper
void sync_directory(FileSystem& system, const std::filesystem::path& path);    // makes its entries durable

std::vector<std::string> list_directory(const std::filesystem::path& path);  // names, sorted

// What is at `path` itself (a link is not followed), kNone if nothing is.
enum class PathKind { kNone, kFile, kDirectory, kOther };
PathKind kind_of(const std::filesystem::path& path);

// `text` in quotes, shortened, without control characters: for names that come from a file.
std::string in_quotes(std::string_view text);

}  // namespace ropewalk

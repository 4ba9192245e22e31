// The way to the disk of a run's files: every system call that writes or reads one goes through FileSystem, so that a
// test can let any one of them fail or end the program. What is below loops over short and interrupted calls, follows
// no link to a file, and turns every error into a FileError that names the path and the system's reason.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/error.h"

namespace ropewalk {

// Whoever owns the file says what it means: a checkpoint is refused, metrics wait.
struct FileError : Error {
  FileError(int error, const std::string& message) : Error(ExitCode::kCheckpoint, message), reason(error) {}
  int reason;  // errno; 0 where no call failed
};

// The calls as POSIX has them: -1 and errno on failure.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual int open(const char* path, int flags, mode_t mode);
  virtual ssize_t write(int file, const void* data, size_t bytes);
  virtual ssize_t pread(int file, void* data, size_t bytes, int64_t offset);
  virtual int ftruncate(int file, int64_t bytes);
  virtual int fsync(int file);
  virtual int close(int file);
  virtual int rename(const char* from, const char* to);
  virtual int mkdir(const char* path, mode_t mode);
  virtual int unlink(const char* path);
  virtual int rmdir(const char* path);
};

FileSystem& real_file_system();  // has no state

// Throws the FileError of a call that failed: "cannot ACTION PATH: REASON", and a remedy where there is one.
[[noreturn]] void throw_file_error(std::string_view action, const std::filesystem::path& path, int reason = errno);
// The calls, repeated while a signal interrupts. `action` as above.
int open_file(FileSystem& system, std::string_view action, const std::filesystem::path& path, int flags);
void sync_file(FileSystem& system, int file, const std::filesystem::path& path);

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

// Where a file is written before it takes its name: a name that only this program gives.
std::filesystem::path beside(const std::filesystem::path& path);
// Writes such a file, durably; it is removed where that fails.
void write_beside(FileSystem& system, const std::filesystem::path& path, const std::function<void(OutputFile&)>& write);
// Lets it take the name, durably.
void take_name(FileSystem& system, const std::filesystem::path& path);
// Both: whenever that ends early, PATH is what it was, or the new file. Whether what is there may be replaced is for
// the caller to know.
void replace_file(FileSystem& system, const std::filesystem::path& path, std::string_view bytes);
// PATH.1, or the first such name that nothing has.
std::filesystem::path free_name(const std::filesystem::path& path);
// Renames `path` to free_name(path), durably. Returns that name.
std::filesystem::path keep_aside(FileSystem& system, const std::filesystem::path& path);

void cut_file(FileSystem& system, const std::filesystem::path& path, int64_t bytes);  // keeps the first `bytes`
void rename_path(FileSystem& system, const std::filesystem::path& from, const std::filesystem::path& to);
void make_directory(FileSystem& system, const std::filesystem::path& path);    // its parent must exist
void make_directories(FileSystem& system, const std::filesystem::path& path);  // with its parents, durably
void remove_file(FileSystem& system, const std::filesystem::path& path);       // or a link, not followed
void remove_directory(FileSystem& system,
                      const std::filesystem::path& path);  // with the files in it, all that can be; no deeper

// Makes the entries of a directory durable. False where that cannot be had: some file systems (SMB, FUSE, folders
// shared with a host) know no fsync of a directory, and one that may not be read cannot be opened for it.
bool sync_directory(FileSystem& system, const std::filesystem::path& path);
bool sync_parent(FileSystem& system, const std::filesystem::path& path);  // the directory that holds `path`

std::vector<std::string> list_directory(const std::filesystem::path& path);  // names, sorted

// What is at `path` itself (a link is not followed), kNone if nothing is.
enum class PathKind { kNone, kFile, kDirectory, kOther };
PathKind kind_of(const std::filesystem::path& path);

// Whether `path` itself (a link is not followed) still is the open file: it was not replaced or removed.
bool leads_to(const std::filesystem::path& path, int file);

// `text` in quotes, shortened, without control characters: for names that come from a file.
std::string in_quotes(std::string_view text);

}  // namespace ropewalk

// The way to the disk, for a run's files and for training data: the system calls by which they open, read, write, rename,
// remove and lock files go through FileSystem, so that a test can let any one of them fail or end the program. The
// functions below loop over interrupted calls and turn every failure into an error that names the path and the system's
// reason.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/error.h"

namespace ropewalk {

// Whose the files are decides what a failure is, and what to do about it.
enum class FileOwner {
  kRun,  // a FileError: a checkpoint is refused, metrics wait
  kData  // a DataError
};

struct FileError : Error {
  FileError(int error, const std::string& message) : Error(ExitCode::kCheckpoint, message), reason(error) {}
  int reason;  // errno; 0 where no call failed
};

// The calls as POSIX has them: -1 and errno on failure.
class FileSystem {
 public:
  explicit FileSystem(FileOwner owner = FileOwner::kRun) : owner_(owner) {}
  virtual ~FileSystem() = default;
  FileOwner owner() const { return owner_; }

  virtual int open(const char* path, int flags, mode_t mode);
  virtual ssize_t read(int file, void* data, size_t bytes);
  virtual ssize_t pread(int file, void* data, size_t bytes, int64_t offset);
  virtual ssize_t write(int file, const void* data, size_t bytes);
  virtual ssize_t pwrite(int file, const void* data, size_t bytes, int64_t offset);
  virtual int ftruncate(int file, int64_t bytes);
  virtual int fsync(int file);
  virtual int flock(int file, int operation);
  virtual int close(int file);
  virtual int rename(const char* from, const char* to);
  virtual int mkdir(const char* path, mode_t mode);
  virtual int unlink(const char* path);
  virtual int rmdir(const char* path);

 private:
  FileOwner owner_;
};

FileSystem& real_file_system(FileOwner owner = FileOwner::kRun);  // has no state

// Throws the owner's error of a call that failed: "cannot ACTION PATH: REASON", and a remedy where there is one.
[[noreturn]] void throw_file_error(FileOwner owner, std::string_view action, const std::filesystem::path& path,
                                   int reason = errno);
// The same for what no call has told.
[[noreturn]] void throw_file_error(FileOwner owner, const std::string& message);

// Calls again while a signal interrupts.
template <typename Call>
auto retry(const Call& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// `action` as above.
int open_file(FileSystem& system, std::string_view action, const std::filesystem::path& path, int flags);
void sync_file(FileSystem& system, int file, const std::filesystem::path& path);

void cut_file(FileSystem& system, const std::filesystem::path& path, int64_t bytes);  // keeps the first `bytes`
void rename_path(FileSystem& system, const std::filesystem::path& from, const std::filesystem::path& to);
void make_directory(FileSystem& system, const std::filesystem::path& path);    // its parent must exist
void make_directories(FileSystem& system, const std::filesystem::path& path);  // with its parents, durably
void remove_file(FileSystem& system, const std::filesystem::path& path);       // or a link, not followed
bool remove_if_there(FileSystem& system, const std::filesystem::path& path);   // likewise; false where nothing is
void remove_directory(FileSystem& system,
                      const std::filesystem::path& path);  // with the files in it, all that can be; no deeper

// Makes the entries of a directory durable. False where that cannot be had: some file systems (SMB, FUSE, folders
// shared with a host) know no fsync of a directory, and one that may not be read cannot be opened for it.
bool sync_directory(FileSystem& system, const std::filesystem::path& path);
bool sync_parent(FileSystem& system, const std::filesystem::path& path);  // the directory that holds `path`
// rename_path() and sync_parent(): as durable as that can be had.
bool rename_durably(FileSystem& system, const std::filesystem::path& from, const std::filesystem::path& to);

// PATH.1, or the first such name that nothing has.
std::filesystem::path free_name(const std::filesystem::path& path);
// Renames `path` to free_name(path), durably. Returns that name.
std::filesystem::path keep_aside(FileSystem& system, const std::filesystem::path& path);

std::vector<std::string> list_directory(const std::filesystem::path& path);  // names, sorted

// What is at `path` itself (a link is not followed), kNone if nothing is.
enum class PathKind { kNone, kFile, kDirectory, kOther };
PathKind kind_of(const std::filesystem::path& path, FileOwner owner = FileOwner::kRun);

// Whether `path` still leads to the open file: it was not replaced or removed. A link there counts only if followed.
enum class Links { kRefused, kFollowed };
bool leads_to(const std::filesystem::path& path, int file, Links links = Links::kRefused);

}  // namespace ropewalk

// Access to the disk, for a run's files and for training data. The system calls that open, read, write, rename, remove
// or lock such files go through FileSystem, so that a test can make any one of them fail or end the program (except
// that LockFile reads a holder's name directly). The functions below repeat interrupted calls, and turn every failure
// into an error that names the path and the system's reason.
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

// Decides which error a failure throws, and which remedy its message gives.
enum class FileOwner {
  kRun,  // files of a run: FileError
  kData  // training data: DataError
};

struct FileError : Error {
  FileError(int error, const std::string& message) : Error(ExitCode::kCheckpoint, message), reason(error) {}
  int reason;  // errno; 0 if no system call failed
};

// The POSIX calls: -1 and errno on failure.
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

FileSystem& real_file_system(FileOwner owner = FileOwner::kRun);  // stateless

// Throws the owner's error for a failed system call: "cannot ACTION PATH: REASON", and a remedy if one is known.
[[noreturn]] void throw_file_error(FileOwner owner, std::string_view action, const std::filesystem::path& path,
                                   int reason = errno);
// Throws the owner's error for a failure that no system call reported; its reason is 0.
[[noreturn]] void throw_file_error(FileOwner owner, const std::string& message);

// Repeats the call while signals interrupt it.
template <typename Call>
auto retry(const Call& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// `action`: as in throw_file_error().
int open_file(FileSystem& system, std::string_view action, const std::filesystem::path& path, int flags);
void sync_file(FileSystem& system, int file, const std::filesystem::path& path);

void cut_file(FileSystem& system, const std::filesystem::path& path, int64_t bytes);  // keeps the first `bytes`
void rename_path(FileSystem& system, const std::filesystem::path& from, const std::filesystem::path& to);
void make_directory(FileSystem& system, const std::filesystem::path& path);    // its parent must exist
void make_directories(FileSystem& system, const std::filesystem::path& path);  // with missing parents, durably
void remove_file(FileSystem& system, const std::filesystem::path& path);       // or a link, not its target
bool remove_if_there(FileSystem& system, const std::filesystem::path& path);   // likewise; false if nothing is there
// Removes every file of the directory that it can. Then throws the first failure, or removes the directory if there was
// none. Does not remove subdirectories.
void remove_directory(FileSystem& system, const std::filesystem::path& path);
// Removes everything in the directory that it can, subdirectories too, without following links. Then throws the first
// failure. remove_tree() also removes the directory if there was none.
void remove_contents(FileSystem& system, const std::filesystem::path& path);
void remove_tree(FileSystem& system, const std::filesystem::path& path);

// Makes the entries of a directory durable. Returns false if that is impossible: some file systems (SMB, FUSE, folders
// shared with a host) have no fsync of directories, and a directory without read permission cannot be opened.
bool sync_directory(FileSystem& system, const std::filesystem::path& path);
bool sync_parent(FileSystem& system, const std::filesystem::path& path);  // the directory that holds `path`
// rename_path(), then sync_parent(), whose result it returns.
bool rename_durably(FileSystem& system, const std::filesystem::path& from, const std::filesystem::path& to);

// PATH.N with the smallest N >= 1 for which nothing exists.
std::filesystem::path free_name(const std::filesystem::path& path);
// Renames `path` to free_name(path), durably. Returns that name.
std::filesystem::path keep_aside(FileSystem& system, const std::filesystem::path& path);

// The names in a directory, sorted.
std::vector<std::string> list_directory(const std::filesystem::path& path, FileOwner owner = FileOwner::kRun);

// What is at `path` itself (a link is not followed); kNone if nothing exists there.
enum class PathKind { kNone, kFile, kDirectory, kOther };
PathKind kind_of(const std::filesystem::path& path, FileOwner owner = FileOwner::kRun);

// Whether `path` still leads to the open file; false if someone replaced or removed the file at `path`. For a symbolic
// link at `path`: kRefused gives false, kFollowed compares its target.
enum class Links { kRefused, kFollowed };
bool leads_to(const std::filesystem::path& path, int file, Links links = Links::kRefused);

}  // namespace ropewalk

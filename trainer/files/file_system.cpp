#include "trainer/files/file_system.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <system_error>

#include "trainer/text/format.h"

namespace ropewalk {

int FileSystem::open(const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); }
ssize_t FileSystem::read(int file, void* data, size_t bytes) { return ::read(file, data, bytes); }
ssize_t FileSystem::pread(int file, void* data, size_t bytes, int64_t offset) {
  return ::pread(file, data, bytes, offset);
}
ssize_t FileSystem::write(int file, const void* data, size_t bytes) { return ::write(file, data, bytes); }
ssize_t FileSystem::pwrite(int file, const void* data, size_t bytes, int64_t offset) {
  return ::pwrite(file, data, bytes, offset);
}
int FileSystem::ftruncate(int file, int64_t bytes) { return ::ftruncate(file, bytes); }
int FileSystem::fsync(int file) { return ::fsync(file); }
int FileSystem::flock(int file, int operation) { return ::flock(file, operation); }
int FileSystem::close(int file) { return ::close(file); }
int FileSystem::rename(const char* from, const char* to) { return ::rename(from, to); }
int FileSystem::mkdir(const char* path, mode_t mode) { return ::mkdir(path, mode); }
int FileSystem::unlink(const char* path) { return ::unlink(path); }
int FileSystem::rmdir(const char* path) { return ::rmdir(path); }

FileSystem& real_file_system(FileOwner owner) {
  static FileSystem of_runs(FileOwner::kRun), of_data(FileOwner::kData);
  return owner == FileOwner::kRun ? of_runs : of_data;
}

namespace {

std::string_view remedy(FileOwner owner, int reason) {
  const bool run = owner == FileOwner::kRun;
  switch (reason) {
    case EACCES:
    case EPERM:
      return run ? "; the program needs permission to write and read there"
                 : "; give this user the permission, or name another file";
    case EROFS:
      return run ? "; the program needs permission to write and read there" : "; write to another device";
    case ENOSPC:
    case EDQUOT:
      return run ? "; free space there, or save fewer checkpoints (checkpoint.keep)"
                 : "; free space there, or write to another device";
    case ELOOP:
      return run ? "; a run's files are not reached through a link: put a file in its place"
                 : "; remove the symbolic link";
    case ENOENT:
      return run ? "" : "; check the path";
    case EFBIG:
      return "; raise the limit of a file's size (ulimit -f), or write to another file system";
    case EMFILE:
      return "; raise the limit of open files (ulimit -n)";
    default:
      return "";
  }
}

[[noreturn]] void throw_error(FileOwner owner, int reason, const std::string& message) {
  if (owner == FileOwner::kData) throw DataError(message);
  throw FileError(reason, message);
}

}  // namespace

void throw_file_error(FileOwner owner, std::string_view action, const std::filesystem::path& path, int reason) {
  throw_error(owner, reason,
              fmt::format("cannot {} {}: {}{}", action, printable_name(path.string()),
                          std::generic_category().message(reason), remedy(owner, reason)));
}

void throw_file_error(FileOwner owner, const std::string& message) { throw_error(owner, 0, message); }

int open_file(FileSystem& system, std::string_view action, const std::filesystem::path& path, int flags) {
  const int file = retry([&] { return system.open(path.c_str(), flags | O_CLOEXEC, 0666); });
  if (file < 0) throw_file_error(system.owner(), action, path);
  return file;
}

void sync_file(FileSystem& system, int file, const std::filesystem::path& path) {
  if (retry([&] { return system.fsync(file); }) < 0) throw_file_error(system.owner(), "fsync", path);
}

void cut_file(FileSystem& system, const std::filesystem::path& path, int64_t bytes) {
  const int file = open_file(system, "shorten", path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK);
  const int result = retry([&] { return system.ftruncate(file, bytes); });
  const int error = errno;
  system.close(file);
  if (result < 0) throw_file_error(system.owner(), "shorten", path, error);
}

void rename_path(FileSystem& system, const std::filesystem::path& from, const std::filesystem::path& to) {
  if (retry([&] { return system.rename(from.c_str(), to.c_str()); }) < 0) {
    throw_file_error(system.owner(), fmt::format("rename {} to", printable_name(from.string())), to);
  }
}

void make_directory(FileSystem& system, const std::filesystem::path& path) {
  if (retry([&] { return system.mkdir(path.c_str(), 0777); }) < 0)
    throw_file_error(system.owner(), "make the directory", path);
}

void remove_file(FileSystem& system, const std::filesystem::path& path) {
  if (retry([&] { return system.unlink(path.c_str()); }) < 0) throw_file_error(system.owner(), "remove", path);
}

bool remove_if_there(FileSystem& system, const std::filesystem::path& path) {
  if (retry([&] { return system.unlink(path.c_str()); }) == 0) return true;
  if (errno != ENOENT) throw_file_error(system.owner(), "remove", path);
  return false;
}

namespace {

// Removes as much as it can, then throws the first failure.
void remove_entries(FileSystem& system, const std::filesystem::path& path, bool with_folders) {
  std::exception_ptr first_failure;
  for (const std::string& name : list_directory(path, system.owner())) {
    try {
      if (with_folders && kind_of(path / name) == PathKind::kDirectory)
        remove_tree(system, path / name);
      else
        remove_file(system, path / name);
    } catch (const Error&) {
      if (!first_failure) first_failure = std::current_exception();
    }
  }
  if (first_failure) std::rethrow_exception(first_failure);
}

void remove_empty(FileSystem& system, const std::filesystem::path& path) {
  if (retry([&] { return system.rmdir(path.c_str()); }) < 0) throw_file_error(system.owner(), "remove", path);
}

}  // namespace

void remove_directory(FileSystem& system, const std::filesystem::path& path) {
  remove_entries(system, path, /*with_folders=*/false);
  remove_empty(system, path);
}

void remove_contents(FileSystem& system, const std::filesystem::path& path) {
  remove_entries(system, path, /*with_folders=*/true);
}

void remove_tree(FileSystem& system, const std::filesystem::path& path) {
  remove_contents(system, path);
  remove_empty(system, path);
}

bool sync_directory(FileSystem& system, const std::filesystem::path& path) {
  const int file = retry([&] { return system.open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); });
  if (file < 0 && errno == EACCES) return false;
  if (file < 0) throw_file_error(system.owner(), "open", path);
  const int result = retry([&] { return system.fsync(file); });
  const int error = errno;
  system.close(file);
  if (result < 0 && (error == EINVAL || error == ENOTSUP || error == EBADF)) return false;
  if (result < 0) throw_file_error(system.owner(), "fsync", path, error);
  return true;
}

bool sync_parent(FileSystem& system, const std::filesystem::path& path) {
  const std::filesystem::path parent = path.parent_path();
  return sync_directory(system, parent.empty() ? "." : parent);
}

bool rename_durably(FileSystem& system, const std::filesystem::path& from, const std::filesystem::path& to) {
  rename_path(system, from, to);
  return sync_parent(system, to);
}

void make_directories(FileSystem& system, const std::filesystem::path& path) {
  std::error_code ignored;  // mkdir() below reports what is wrong with the path
  if (path.empty() || std::filesystem::is_directory(path, ignored)) return;
  if (!path.has_filename()) return make_directories(system, path.parent_path());  // "runs/"
  make_directories(system, path.parent_path());
  if (retry([&] { return system.mkdir(path.c_str(), 0777); }) < 0) {
    const int error = errno;
    const bool another_was_faster = error == EEXIST && std::filesystem::is_directory(path, ignored);
    if (!another_was_faster) throw_file_error(system.owner(), "make the directory", path, error);
  }
  sync_parent(system, path);
}

bool leads_to(const std::filesystem::path& path, int file, Links links) {
  struct stat named {
  }, opened{};
  const int result = links == Links::kFollowed ? ::stat(path.c_str(), &named) : ::lstat(path.c_str(), &named);
  return result == 0 && ::fstat(file, &opened) == 0 && named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

std::filesystem::path free_name(const std::filesystem::path& path) {
  for (int count = 1;; ++count) {
    const std::filesystem::path name = fmt::format("{}.{}", path.string(), count);
    if (kind_of(name) == PathKind::kNone) return name;
  }
}

std::filesystem::path keep_aside(FileSystem& system, const std::filesystem::path& path) {
  const std::filesystem::path target = free_name(path);
  rename_durably(system, path, target);
  return target;
}

std::vector<std::string> list_directory(const std::filesystem::path& path, FileOwner owner) {
  std::error_code error;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) throw_file_error(owner, "list", path, error.value());
  std::sort(names.begin(), names.end());
  return names;
}

PathKind kind_of(const std::filesystem::path& path, FileOwner owner) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::symlink_status(path, error);
  switch (status.type()) {
    case std::filesystem::file_type::not_found:
      return PathKind::kNone;
    case std::filesystem::file_type::regular:
      return PathKind::kFile;
    case std::filesystem::file_type::directory:
      return PathKind::kDirectory;
    case std::filesystem::file_type::none:
      throw_file_error(owner, "look at", path, error.value());
    default:
      return PathKind::kOther;
  }
}

}  // namespace ropewalk

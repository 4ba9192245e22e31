#include "tests/trainer/files/faulty_file_system.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "tests/support/temporary_directory.h"

namespace ropewalk {
namespace {

ino_t inode_of(const std::filesystem::path& path) {
  struct stat status;
  return ::lstat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

ino_t inode_of(int file) {
  struct stat status;
  return ::fstat(file, &status) == 0 ? status.st_ino : 0;
}

ino_t parent_of(const char* path) { return inode_of(std::filesystem::path(path).parent_path()); }

}  // namespace

bool FaultyFileSystem::fails(const char* call) {
  const int error = fault_(call);
  if (error != 0) errno = error;
  return error != 0;
}

int FaultyFileSystem::open(const char* path, int flags, mode_t mode) {
  return fails(flags & O_CREAT ? "create" : "open") ? -1 : FileSystem::open(path, flags, mode);
}
ssize_t FaultyFileSystem::read(int file, void* data, size_t bytes) {
  return fails("read") ? -1 : FileSystem::read(file, data, bytes);
}
ssize_t FaultyFileSystem::write(int file, const void* data, size_t bytes) {
  return fails("write") ? -1 : FileSystem::write(file, data, bytes);
}
ssize_t FaultyFileSystem::pwrite(int file, const void* data, size_t bytes, int64_t offset) {
  return fails("pwrite") ? -1 : FileSystem::pwrite(file, data, bytes, offset);
}
ssize_t FaultyFileSystem::pread(int file, void* data, size_t bytes, int64_t offset) {
  return fails("pread") ? -1 : FileSystem::pread(file, data, bytes, offset);
}
int FaultyFileSystem::ftruncate(int file, int64_t bytes) {
  return fails("ftruncate") ? -1 : FileSystem::ftruncate(file, bytes);
}
int FaultyFileSystem::fsync(int) { return fails("fsync") ? -1 : 0; }
int FaultyFileSystem::flock(int file, int operation) {
  return fails("flock") ? -1 : FileSystem::flock(file, operation);
}
int FaultyFileSystem::close(int file) {
  FileSystem::close(file);
  return fails("close") ? -1 : 0;
}
int FaultyFileSystem::rename(const char* from, const char* to) {
  return fails("rename") ? -1 : FileSystem::rename(from, to);
}
int FaultyFileSystem::mkdir(const char* path, mode_t mode) {
  return fails("mkdir") ? -1 : FileSystem::mkdir(path, mode);
}
int FaultyFileSystem::unlink(const char* path) { return fails("unlink") ? -1 : FileSystem::unlink(path); }
int FaultyFileSystem::rmdir(const char* path) { return fails("rmdir") ? -1 : FileSystem::rmdir(path); }

ssize_t ReluctantFileSystem::write(int file, const void* data, size_t bytes) {
  return FaultyFileSystem::write(file, data, std::min(bytes, most_written_));
}
ssize_t ReluctantFileSystem::pread(int file, void* data, size_t bytes, int64_t offset) {
  return FaultyFileSystem::pread(file, data, std::min(bytes, most_read_), offset);
}

bool PowerCutFileSystem::fails() {
  errno = power_();
  return errno != 0;
}

int PowerCutFileSystem::open(const char* path, int flags, mode_t mode) {
  const std::lock_guard lock(mutex_);
  if (fails()) return -1;
  const int file = FileSystem::open(path, flags, mode);
  if (file >= 0 && (flags & O_CREAT)) {
    volatile_files_.insert(inode_of(file));
    new_names_.push_back({parent_of(path), inode_of(file), "", "", {}});
  }
  return file;
}

ssize_t PowerCutFileSystem::write(int file, const void* data, size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (fails()) return -1;
  volatile_files_.insert(inode_of(file));
  return FileSystem::write(file, data, bytes);
}

ssize_t PowerCutFileSystem::pwrite(int file, const void* data, size_t bytes, int64_t offset) {
  const std::lock_guard lock(mutex_);
  if (fails()) return -1;
  volatile_files_.insert(inode_of(file));
  return FileSystem::pwrite(file, data, bytes, offset);
}

int PowerCutFileSystem::ftruncate(int file, int64_t bytes) {
  const std::lock_guard lock(mutex_);
  return fails() ? -1 : FileSystem::ftruncate(file, bytes);
}

int PowerCutFileSystem::fsync(int file) {
  const std::lock_guard lock(mutex_);
  if (fails()) return -1;
  const ino_t inode = inode_of(file);
  volatile_files_.erase(inode);
  std::erase_if(new_names_, [&](const NewName& name) { return name.directory == inode; });
  return 0;
}

int PowerCutFileSystem::rename(const char* from, const char* to) {
  const std::lock_guard lock(mutex_);
  if (fails()) return -1;
  std::optional<std::string> replaced;
  if (std::filesystem::is_regular_file(to)) replaced = read_file(to);
  new_names_.push_back({parent_of(to), inode_of(from), from, to, std::move(replaced)});
  return FileSystem::rename(from, to);
}

int PowerCutFileSystem::mkdir(const char* path, mode_t mode) {
  const std::lock_guard lock(mutex_);
  if (fails()) return -1;
  const int result = FileSystem::mkdir(path, mode);
  new_names_.push_back({parent_of(path), inode_of(path), "", "", {}});
  return result;
}

int PowerCutFileSystem::unlink(const char* path) {
  const std::lock_guard lock(mutex_);
  return fails() ? -1 : FileSystem::unlink(path);
}

int PowerCutFileSystem::rmdir(const char* path) {
  const std::lock_guard lock(mutex_);
  return fails() ? -1 : FileSystem::rmdir(path);
}

std::map<ino_t, std::filesystem::path> PowerCutFileSystem::paths() const {
  std::map<ino_t, std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root_))
    paths[inode_of(entry.path())] = entry.path();
  return paths;
}

void PowerCutFileSystem::cut() {
  for (auto name = new_names_.rbegin(); name != new_names_.rend(); ++name) {
    const auto known = paths();
    const auto entry = known.find(name->entry);
    if (entry == known.end()) continue;  // removed meanwhile
    if (name->from.empty()) {
      std::filesystem::remove_all(entry->second);
    } else if (entry->second == name->to) {
      std::filesystem::rename(name->to, name->from);
      if (name->replaced) write_file(name->to, *name->replaced);
    }
  }
  for (const auto& [inode, path] : paths()) {
    if (volatile_files_.contains(inode)) std::filesystem::resize_file(path, 0);
  }
}

}  // namespace ropewalk

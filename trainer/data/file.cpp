#include "trainer/data/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "kernels/error.h"
#include "trainer/files/file_io.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

const char* remedy(int code) {
  switch (code) {
    case EACCES:
    case EPERM:
      return "; give this user the permission, or name another file";
    case ENOENT:
      return "; check the path";
    case ENOSPC:
    case EDQUOT:
      return "; free space there, or write to another device";
    case EROFS:
      return "; write to another device";
    case ELOOP:
      return "; remove the symbolic link";
    case EFBIG:
      return "; raise the limit of a file's size (ulimit -f), or write to another file system";
    case EMFILE:
      return "; raise the limit of open files (ulimit -n)";
    default:
      return "";
  }
}

[[noreturn]] void fail(const char* what, const std::string& path) { throw file_error(what, path, errno); }

int open_descriptor(const std::string& path, int flags, const char* what) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  if (descriptor < 0 && errno == EINTR) throw Interrupted();  // out of the wait for a pipe's writer
  if (descriptor < 0) fail(what, path);
  return descriptor;
}

// A new file, whatever was at the path: a leftover may be linked to from elsewhere, so it is never written to.
int create_descriptor(const std::string& path, NewFile::Leftover leftover) {
  if (leftover == NewFile::Leftover::kRemove && ::unlink(path.c_str()) != 0 && errno != ENOENT) fail("replace", path);
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0 && errno == EEXIST && leftover == NewFile::Leftover::kRefuse)
    throw DataError(
        fmt::format("{} exists, and this file system has no locks to tell whether someone is writing it; "
                    "remove it if nobody is",
                    printable_name(path)));
  if (descriptor < 0) fail("create", path);
  return descriptor;
}

}  // namespace

DataError file_error(const char* what, const std::string& path, int code) {
  return DataError(fmt::format("cannot {} {}: {}{}", what, printable_name(path), std::generic_category().message(code),
                               remedy(code)));
}

File File::open(const std::string& path) {
  File file(path, open_descriptor(path, O_RDONLY, "read"));
  struct stat status {};
  if (::fstat(file.descriptor_, &status) != 0) fail("read", path);
  if (S_ISDIR(status.st_mode))
    throw DataError(fmt::format("cannot read {}: it is a folder; name a file", printable_name(path)));
  return file;
}

File::File(File&& other) noexcept : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

int64_t File::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail("read", path_);
  return status.st_size;
}

File::Version File::version() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail("read", path_);
  if (!S_ISREG(status.st_mode)) return {};
  return {status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

bool File::has_name() const {
  struct stat opened {};
  struct stat named {};
  return ::fstat(descriptor_, &opened) == 0 && ::stat(path_.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

size_t File::read(std::span<char> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::read(descriptor_, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) throw Interrupted();
    if (count < 0) fail("read", path_);
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  return done;
}

void File::read_at(int64_t offset, void* bytes, size_t count) const {
  for (size_t done = 0; done < count;) {
    const ssize_t got = ::pread(descriptor_, static_cast<char*>(bytes) + done, count - done,
                                static_cast<off_t>(offset + static_cast<int64_t>(done)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read", path_);
    if (got == 0) {
      throw DataError(fmt::format("{} ends at byte {}, before byte {}: it was cut while it was in use; restore it",
                                  printable_name(path_), offset + static_cast<int64_t>(done),
                                  offset + static_cast<int64_t>(count)));
    }
    done += static_cast<size_t>(got);
  }
}

void File::write(const void* bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    const ssize_t put = ::write(descriptor_, static_cast<const char*>(bytes) + done, count - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("write", path_);
    done += static_cast<size_t>(put);
  }
}

void File::write_at(int64_t offset, const void* bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    const ssize_t put = ::pwrite(descriptor_, static_cast<const char*>(bytes) + done, count - done,
                                 static_cast<off_t>(offset + static_cast<int64_t>(done)));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("write", path_);
    done += static_cast<size_t>(put);
  }
}

void File::sync() {
  while (::fsync(descriptor_) != 0) {
    if (errno != EINTR) fail("write", path_);
  }
}

NewFile::NewFile(const std::string& path, Leftover leftover)
    : File(path + ".tmp", create_descriptor(path + ".tmp", leftover)), final_path_(path) {}

NewFile::~NewFile() {
  if (!published_) ::unlink(path().c_str());
}

void NewFile::publish() {
  if (::rename(path().c_str(), final_path_.c_str()) != 0) fail("write", final_path_);
  published_ = true;
}

bool sync_folder_of(const std::string& path) {
  try {
    return sync_parent(real_file_system(), path);
  } catch (const FileError& error) {
    throw file_error("make durable the names beside", path, error.reason);
  }
}

MappedFile::MappedFile(const std::string& path) : file_(File::open(path)) {
  size_ = static_cast<size_t>(file_.size());
  if (size_ == 0) return;  // an empty mapping is not allowed
  void* data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file_.descriptor(), 0);
  if (data == MAP_FAILED) fail("map", path);
  data_ = static_cast<const std::byte*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace ropewalk

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
    case EMFILE:
      return "; raise the limit of open files (ulimit -n)";
    default:
      return "";
  }
}

[[noreturn]] void fail(const char* what, const std::string& path) {
  const int code = errno;
  throw DataError(fmt::format("cannot {} {}: {}{}", what, path, std::generic_category().message(code), remedy(code)));
}

int open_descriptor(const std::string& path, int flags, const char* what) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  if (descriptor < 0 && errno == EINTR) throw Interrupted();  // out of the wait for a pipe's writer
  if (descriptor < 0) fail(what, path);
  return descriptor;
}

}  // namespace

File File::open(const std::string& path) {
  File file(path, open_descriptor(path, O_RDONLY, "read"));
  struct stat status {};
  if (::fstat(file.descriptor_, &status) != 0) fail("read", path);
  if (S_ISDIR(status.st_mode)) throw DataError(fmt::format("cannot read {}: it is a folder; name a file", path));
  return file;
}

File File::create(const std::string& path) {
  return File(path, open_descriptor(path, O_RDWR | O_CREAT | O_TRUNC, "create"));
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
                                  path_, offset + static_cast<int64_t>(done), offset + static_cast<int64_t>(count)));
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

NewFile::NewFile(const std::string& path) : File(create(path + ".tmp")), final_path_(path) {}

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
    throw DataError(error.what());
  }
}

MappedFile::MappedFile(const std::string& path) {
  const File file = File::open(path);
  size_ = static_cast<size_t>(file.size());
  if (size_ == 0) return;  // an empty mapping is not allowed
  void* data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  if (data == MAP_FAILED) fail("map", path);
  data_ = static_cast<const std::byte*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace ropewalk

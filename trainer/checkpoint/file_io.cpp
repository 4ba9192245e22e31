#include "trainer/checkpoint/file_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

namespace ropewalk {

int FileSystem::open(const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); }
ssize_t FileSystem::write(int file, const void* data, size_t bytes) { return ::write(file, data, bytes); }
ssize_t FileSystem::pread(int file, void* data, size_t bytes, int64_t offset) {
  return ::pread(file, data, bytes, offset);
}
int FileSystem::fsync(int file) { return ::fsync(file); }
int FileSystem::close(int file) { return ::close(file); }
int FileSystem::rename(const char* from, const char* to) { return ::rename(from, to); }
int FileSystem::mkdir(const char* path, mode_t mode) { return ::mkdir(path, mode); }
int FileSystem::unlink(const char* path) { return ::unlink(path); }
int FileSystem::rmdir(const char* path) { return ::rmdir(path); }

FileSystem& real_file_system() {
  static FileSystem system;
  return system;
}

namespace {

[[noreturn]] void fail(const char* action, const std::filesystem::path& path, int error = errno) {
  std::string remedy;
  if (error == ENOSPC || error == EDQUOT) remedy = "; free space there, or save fewer checkpoints (checkpoint.keep)";
  if (error == EACCES || error == EPERM || error == EROFS)
    remedy = "; the program needs permission to write and read there";
  throw CheckpointError(
      fmt::format("cannot {} {}: {}{}", action, path.string(), std::generic_category().message(error), remedy));
}

// Calls again while a signal interrupts.
template <typename Call>
auto retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

int open_or_fail(FileSystem& system, const char* action, const std::filesystem::path& path, int flags) {
  const int file = retry([&] { return system.open(path.c_str(), flags | O_CLOEXEC, 0666); });
  if (file < 0) fail(action, path);
  return file;
}

}  // namespace

OutputFile::OutputFile(FileSystem& system, std::filesystem::path path)
    : system_(system),
      path_(std::move(path)),
      file_(open_or_fail(system, "create", path_, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW)) {}

OutputFile::~OutputFile() {
  if (file_ >= 0) system_.close(file_);
}

void OutputFile::write(const void* data, size_t bytes) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = retry([&] { return system_.write(file_, next, bytes); });
    if (written < 0) fail("write", path_);
    if (written == 0) fail("write", path_, EIO);  // a regular file never does this; do not try for ever
    next += written;
    bytes -= static_cast<size_t>(written);
    size_ += written;
  }
}

void OutputFile::close() {
  if (retry([&] { return system_.fsync(file_); }) < 0) fail("fsync", path_);
  const int file = file_;
  file_ = -1;
  // Linux has released the descriptor even where close() was interrupted, and fsync() has reported all errors of
  // writing.
  if (system_.close(file) < 0 && errno != EINTR) fail("close", path_);
}

InputFile::InputFile(FileSystem& system, std::filesystem::path path)
    : system_(system),
      path_(std::move(path)),
      // A pipe would let open() wait for its writer; O_NONBLOCK changes nothing for a regular file.
      file_(open_or_fail(system, "open", path_, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)) {
  struct stat status;
  const bool known = ::fstat(file_, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    const int error = errno;
    system_.close(file_);
    if (!known) fail("read the size of", path_, error);
    throw CheckpointError(fmt::format("{} is no regular file", path_.string()));
  }
  size_ = status.st_size;
}

InputFile::~InputFile() { system_.close(file_); }

void InputFile::read(int64_t offset, void* data, size_t bytes) const {
  char* next = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = retry([&] { return system_.pread(file_, next, bytes, offset); });
    if (got < 0) fail("read", path_);
    if (got == 0) {
      throw CheckpointError(
          fmt::format("{} ends at byte {}, {} bytes before it should", path_.string(), offset, bytes));
    }
    next += got;
    offset += got;
    bytes -= static_cast<size_t>(got);
  }
}

std::string read_text(FileSystem& system, const std::filesystem::path& path, int64_t limit) {
  const InputFile file(system, path);
  if (file.size() > limit) {
    throw CheckpointError(fmt::format("{} has {} bytes; at most {} are read", path.string(), file.size(), limit));
  }
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read(0, text.data(), text.size());
  return text;
}

void rename_path(FileSystem& system, const std::filesystem::path& from, const std::filesystem::path& to) {
  if (retry([&] { return system.rename(from.c_str(), to.c_str()); }) < 0) {
    fail(fmt::format("rename {} to", from.string()).c_str(), to);
  }
}

void make_directory(FileSystem& system, const std::filesystem::path& path) {
  if (retry([&] { return system.mkdir(path.c_str(), 0777); }) < 0) fail("make the directory", path);
}

void remove_file(FileSystem& system, const std::filesystem::path& path) {
  if (retry([&] { return system.unlink(path.c_str()); }) < 0) fail("remove", path);
}

void remove_directory(FileSystem& system, const std::filesystem::path& path) {
  for (const std::string& name : list_directory(path)) remove_file(system, path / name);
  if (retry([&] { return system.rmdir(path.c_str()); }) < 0) fail("remove", path);
}

void sync_directory(FileSystem& system, const std::filesystem::path& path) {
  const int file = open_or_fail(system, "open", path, O_RDONLY | O_DIRECTORY);
  const int result = retry([&] { return system.fsync(file); });
  const int error = errno;
  system.close(file);
  if (result < 0) fail("fsync", path, error);
}

std::vector<std::string> list_directory(const std::filesystem::path& path) {
  std::error_code error;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) fail("list", path, error.value());
  std::sort(names.begin(), names.end());
  return names;
}

PathKind kind_of(const std::filesystem::path& path) {
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
      fail("look at", path, error.value());
    default:
      return PathKind::kOther;
  }
}

std::string in_quotes(std::string_view text) {
  constexpr size_t kLongest = 200;
  std::string out = "\"";
  for (const char c : text.substr(0, kLongest)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + (text.size() > kLongest ? "...\"" : "\"");
}

}  // namespace ropewalk

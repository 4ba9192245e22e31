#include "trainer/files/file_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <system_error>

namespace ropewalk {

int FileSystem::open(const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); }
ssize_t FileSystem::write(int file, const void* data, size_t bytes) { return ::write(file, data, bytes); }
ssize_t FileSystem::pread(int file, void* data, size_t bytes, int64_t offset) {
  return ::pread(file, data, bytes, offset);
}
int FileSystem::ftruncate(int file, int64_t bytes) { return ::ftruncate(file, bytes); }
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

void throw_file_error(std::string_view action, const std::filesystem::path& path, int reason) {
  std::string remedy;
  if (reason == ENOSPC || reason == EDQUOT) remedy = "; free space there, or save fewer checkpoints (checkpoint.keep)";
  if (reason == EACCES || reason == EPERM || reason == EROFS)
    remedy = "; the program needs permission to write and read there";
  if (reason == ELOOP) remedy = "; a run's files are not reached through a link: put a file in its place";
  throw FileError(reason, fmt::format("cannot {} {}: {}{}", action, path.string(),
                                      std::generic_category().message(reason), remedy));
}

namespace {

// Calls again while a signal interrupts.
template <typename Call>
auto retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

}  // namespace

int open_file(FileSystem& system, std::string_view action, const std::filesystem::path& path, int flags) {
  const int file = retry([&] { return system.open(path.c_str(), flags | O_CLOEXEC, 0666); });
  if (file < 0) throw_file_error(action, path);
  return file;
}

void sync_file(FileSystem& system, int file, const std::filesystem::path& path) {
  if (retry([&] { return system.fsync(file); }) < 0) throw_file_error("fsync", path);
}

OutputFile::OutputFile(FileSystem& system, std::filesystem::path path)
    : system_(system),
      path_(std::move(path)),
      file_(open_file(system, "create", path_, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW)) {}

OutputFile::~OutputFile() {
  if (file_ >= 0) system_.close(file_);
}

void OutputFile::write(const void* data, size_t bytes) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = retry([&] { return system_.write(file_, next, bytes); });
    if (written < 0) throw_file_error("write", path_);
    if (written == 0) throw_file_error("write", path_, EIO);  // a regular file never does this; do not try for ever
    next += written;
    bytes -= static_cast<size_t>(written);
    size_ += written;
  }
}

void OutputFile::close() {
  sync_file(system_, file_, path_);
  const int file = file_;
  file_ = -1;
  // Linux has released the descriptor even where close() was interrupted, and fsync() has reported all errors of
  // writing.
  if (system_.close(file) < 0 && errno != EINTR) throw_file_error("close", path_);
}

InputFile::InputFile(FileSystem& system, std::filesystem::path path)
    : system_(system),
      path_(std::move(path)),
      // A pipe would let open() wait for its writer; O_NONBLOCK changes nothing for a regular file.
      file_(open_file(system, "open", path_, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)) {
  struct stat status;
  const bool known = ::fstat(file_, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    const int error = errno;
    system_.close(file_);
    if (!known) throw_file_error("read the size of", path_, error);
    throw FileError(0, fmt::format("{} is no regular file", path_.string()));
  }
  size_ = status.st_size;
}

InputFile::~InputFile() { system_.close(file_); }

void InputFile::read(int64_t offset, void* data, size_t bytes) const {
  char* next = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = retry([&] { return system_.pread(file_, next, bytes, offset); });
    if (got < 0) throw_file_error("read", path_);
    if (got == 0) {
      throw FileError(0, fmt::format("{} ends at byte {}, {} bytes before it should", path_.string(), offset, bytes));
    }
    next += got;
    offset += got;
    bytes -= static_cast<size_t>(got);
  }
}

std::string read_text(FileSystem& system, const std::filesystem::path& path, int64_t limit) {
  const InputFile file(system, path);
  if (file.size() > limit) {
    throw FileError(0, fmt::format("{} has {} bytes; at most {} are read", path.string(), file.size(), limit));
  }
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read(0, text.data(), text.size());
  return text;
}

void cut_file(FileSystem& system, const std::filesystem::path& path, int64_t bytes) {
  const int file = open_file(system, "shorten", path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK);
  const int result = retry([&] { return system.ftruncate(file, bytes); });
  const int error = errno;
  system.close(file);
  if (result < 0) throw_file_error("shorten", path, error);
}

void rename_path(FileSystem& system, const std::filesystem::path& from, const std::filesystem::path& to) {
  if (retry([&] { return system.rename(from.c_str(), to.c_str()); }) < 0) {
    throw_file_error(fmt::format("rename {} to", from.string()), to);
  }
}

void make_directory(FileSystem& system, const std::filesystem::path& path) {
  if (retry([&] { return system.mkdir(path.c_str(), 0777); }) < 0) throw_file_error("make the directory", path);
}

void remove_file(FileSystem& system, const std::filesystem::path& path) {
  if (retry([&] { return system.unlink(path.c_str()); }) < 0) throw_file_error("remove", path);
}

void remove_directory(FileSystem& system, const std::filesystem::path& path) {
  std::exception_ptr first_failure;
  for (const std::string& name : list_directory(path)) {
    try {
      remove_file(system, path / name);
    } catch (const FileError&) {
      if (!first_failure) first_failure = std::current_exception();
    }
  }
  if (first_failure) std::rethrow_exception(first_failure);
  if (retry([&] { return system.rmdir(path.c_str()); }) < 0) throw_file_error("remove", path);
}

bool sync_directory(FileSystem& system, const std::filesystem::path& path) {
  const int file = retry([&] { return system.open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); });
  if (file < 0 && errno == EACCES) return false;
  if (file < 0) throw_file_error("open", path);
  const int result = retry([&] { return system.fsync(file); });
  const int error = errno;
  system.close(file);
  if (result < 0 && (error == EINVAL || error == ENOTSUP || error == EBADF)) return false;
  if (result < 0) throw_file_error("fsync", path, error);
  return true;
}

bool sync_parent(FileSystem& system, const std::filesystem::path& path) {
  const std::filesystem::path parent = path.parent_path();
  return sync_directory(system, parent.empty() ? "." : parent);
}

void make_directories(FileSystem& system, const std::filesystem::path& path) {
  std::error_code ignored;  // whatever is wrong with the path, making it says so
  if (path.empty() || std::filesystem::is_directory(path, ignored)) return;
  if (!path.has_filename()) return make_directories(system, path.parent_path());  // "runs/"
  make_directories(system, path.parent_path());
  try {
    make_directory(system, path);
  } catch (const FileError& error) {
    if (error.reason != EEXIST || !std::filesystem::is_directory(path, ignored)) throw;  // another run was faster
  }
  sync_parent(system, path);
}

std::filesystem::path beside(const std::filesystem::path& path) { return path.string() + ".ropewalk-tmp"; }

void write_beside(FileSystem& system, const std::filesystem::path& path,
                  const std::function<void(OutputFile&)>& write) {
  const std::filesystem::path temporary = beside(path);
  if (kind_of(temporary) != PathKind::kNone) remove_file(system, temporary);  // of a job that was killed
  try {
    OutputFile file(system, temporary);
    write(file);
    file.close();
  } catch (const FileError&) {
    system.unlink(temporary.c_str());
    throw;
  }
}

void take_name(FileSystem& system, const std::filesystem::path& path) {
  rename_path(system, beside(path), path);
  sync_parent(system, path);
}

void replace_file(FileSystem& system, const std::filesystem::path& path, std::string_view bytes) {
  write_beside(system, path, [&](OutputFile& file) { file.write(bytes); });
  try {
    take_name(system, path);
  } catch (const FileError&) {
    system.unlink(beside(path).c_str());
    throw;
  }
}

bool leads_to(const std::filesystem::path& path, int file) {
  struct stat named {
  }, opened{};
  return ::lstat(path.c_str(), &named) == 0 && ::fstat(file, &opened) == 0 && named.st_dev == opened.st_dev &&
         named.st_ino == opened.st_ino;
}

std::filesystem::path free_name(const std::filesystem::path& path) {
  for (int count = 1;; ++count) {
    const std::filesystem::path name = fmt::format("{}.{}", path.string(), count);
    if (kind_of(name) == PathKind::kNone) return name;
  }
}

std::filesystem::path keep_aside(FileSystem& system, const std::filesystem::path& path) {
  const std::filesystem::path target = free_name(path);
  rename_path(system, path, target);
  sync_parent(system, path);
  return target;
}

std::vector<std::string> list_directory(const std::filesystem::path& path) {
  std::error_code error;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) throw_file_error("list", path, error.value());
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
      throw_file_error("look at", path, error.value());
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

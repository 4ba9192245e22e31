#include "trainer/files/output_file.h"

#include <fcntl.h>

#include <utility>

#include "trainer/text/format.h"

namespace ropewalk {
namespace {

// Returns `temporary` when nothing of that name exists (any more).
const std::filesystem::path& cleared(FileSystem& system, const std::filesystem::path& temporary,
                                     NewFile::Leftover leftover) {
  if (leftover == NewFile::Leftover::kRemove) {
    remove_if_there(system, temporary);
  } else if (kind_of(temporary, system.owner()) != PathKind::kNone) {
    throw_file_error(system.owner(),
                     fmt::format("{} exists, and this file system has no locks to tell whether someone is writing it; "
                                 "remove it if nobody is",
                                 printable_name(temporary.string())));
  }
  return temporary;
}

}  // namespace

OutputFile::OutputFile(FileSystem& system, std::filesystem::path path)
    : system_(system),
      path_(std::move(path)),
      file_(open_file(system, "create", path_, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW)) {}

OutputFile::~OutputFile() {
  if (file_ >= 0) system_.close(file_);
}

void OutputFile::write(const void* data, size_t bytes) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = retry([&] { return system_.write(file_, next, bytes); });
    if (written < 0) throw_file_error(system_.owner(), "write", path_);
    // Does not happen with regular files; do not repeat it forever.
    if (written == 0) throw_file_error(system_.owner(), "write", path_, EIO);
    next += written;
    bytes -= static_cast<size_t>(written);
    size_ += written;
  }
}

void OutputFile::write_at(int64_t offset, const void* data, size_t bytes) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = retry([&] { return system_.pwrite(file_, next, bytes, offset); });
    if (written < 0) throw_file_error(system_.owner(), "write", path_);
    if (written == 0) throw_file_error(system_.owner(), "write", path_, EIO);
    next += written;
    offset += written;
    bytes -= static_cast<size_t>(written);
  }
}

void OutputFile::read(int64_t offset, void* data, size_t bytes) const {
  char* next = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = retry([&] { return system_.pread(file_, next, bytes, offset); });
    if (got <= 0) throw_file_error(system_.owner(), "read", path_, got < 0 ? errno : EIO);
    next += got;
    offset += got;
    bytes -= static_cast<size_t>(got);
  }
}

void OutputFile::close() {
  sync_file(system_, file_, path_);
  // EINTR is harmless: Linux has released the descriptor, and fsync() has reported all write errors.
  if (system_.close(std::exchange(file_, -1)) < 0 && errno != EINTR) throw_file_error(system_.owner(), "close", path_);
}

void create_file(FileSystem& system, const std::filesystem::path& path, std::string_view bytes) {
  OutputFile file(system, path);
  file.write(bytes);
  file.close();
}

NewFile::NewFile(FileSystem& system, std::filesystem::path path, const std::filesystem::path& temporary,
                 Leftover leftover)
    : OutputFile(system, cleared(system, temporary, leftover)), final_path_(std::move(path)) {}

NewFile::~NewFile() {
  if (!stays_) system().unlink(path().c_str());
}

bool NewFile::take_name() {
  rename_path(system(), path(), final_path_);
  stays_ = true;
  return sync_parent(system(), final_path_);
}

std::filesystem::path beside(const std::filesystem::path& path) { return path.string() + ".ropewalk-tmp"; }

void replace_file(FileSystem& system, const std::filesystem::path& path, std::string_view bytes) {
  NewFile file(system, path, beside(path), NewFile::Leftover::kRemove);
  file.write(bytes);
  file.close();
  file.take_name();
}

}  // namespace ropewalk
